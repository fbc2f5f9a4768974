defmodule Bench.W13 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Contender, Measure, Namespaces, Native, Requirement, Rounds}

  @namespaces 1000
  @callers 64
  # Longer than nlns lingers, as agents come by every ten seconds or so. The others have nothing to forget,
  # but the processors' caches have.
  @idle 1_200

  @impl true
  def title,
    do: "a sweep: one open in each of #{@namespaces} namespaces, all at once, after idling"

  @impl true
  def run(size) do
    rows =
      Namespaces.with_new(@namespaces, fn paths ->
        callers =
          for contender <- [Contender.throwaway(), Contender.otp()] do
            {{contender.name, @callers}, fn -> sweep(&by_callers/2, contender, paths) end}
          end

        one = fn -> sweep(&by_one/2, Contender.in_place(), paths) end
        asynchronous = fn -> sweep(&asynchronously/2, Contender.nlns(), paths) end
        Rounds.run(size, [{{"nlns", nil}, asynchronous}, {{"in-place", nil}, one} | callers])
      end)

    pair = {{"nlns", nil}, {"throwaway", @callers}}

    requirements = [
      Requirement.ratio(rows, "time, nlns / throwaway", :sweep, pair, {:at_most, 0.5}),
      Requirement.ratio(rows, "CPU, nlns / throwaway", :cpu, pair, {:at_most, 0.5})
    ]

    %{rows: rows, requirements: requirements, plot: nil}
  end

  defp sweep(how, contender, paths) do
    Process.sleep(@idle)

    Measure.alone(fn ->
      arguments = Enum.map(paths, contender.prepare)
      cpu = Native.cpu_time()
      {us, _} = :timer.tc(how, [contender, arguments])
      cpu = Native.cpu_time() - cpu
      %{values: %{sweep: us / 1000, cpu: cpu / 1000 / @namespaces}}
    end)
  end

  defp asynchronously(_nlns, paths) do
    for path <- paths, do: Nlns.open_in_netns_async(path, 0)

    for _ <- paths do
      receive do
        {:nlns, _ref, {:ok, handle}} -> Nlns.Handle.close(handle)
      end
    end
  end

  defp by_one(contender, arguments), do: Enum.each(arguments, contender.open_close)

  defp by_callers(contender, arguments) do
    arguments
    |> Enum.chunk_every(ceil(@namespaces / @callers))
    |> Enum.map(&Task.async(fn -> by_one(contender, &1) end))
    |> Task.await_many(:infinity)
  end
end
