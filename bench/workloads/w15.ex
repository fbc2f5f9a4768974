defmodule Bench.W15 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Contender, Dump, Measure, Namespaces, Requirement, Rounds}
  alias Nlns.Netlink

  @namespaces 1000
  @in_flight 64
  @ms %{full: 500, quick: 150}

  @impl true
  def title, do: "the links of #{@namespaces} namespaces in turn, #{@in_flight} in flight"

  @impl true
  def run(size) do
    rows =
      Namespaces.with_links(@namespaces, fn paths ->
        callers =
          for contender <- Dump.all() do
            name = if contender.name == "nlns", do: "nlns, 64 callers", else: contender.name
            {{name, @in_flight}, by_callers(contender, paths, size)}
          end

        stream = fn -> Measure.at_once([&take(paths, &1)], @ms[size]) end
        Rounds.run(size, [{{"nlns", @in_flight}, stream} | callers])
      end)

    nlns = {"nlns", @in_flight}
    otp = {nlns, {"otp", @in_flight}}
    in_place = {nlns, {"in-place", @in_flight}}

    requirements = [
      Requirement.ratio(rows, "rate, nlns / otp", :rate, otp, {:at_least, 2}),
      Requirement.ratio(rows, "CPU, nlns / otp", :cpu, otp, {:at_most, 0.5}),
      Requirement.ratio(rows, "rate, nlns / in-place", :rate, in_place, {:at_least, 0.75})
    ]

    %{rows: rows, requirements: requirements, plot: nil}
  end

  # One process, as an agent would.
  defp take(paths, deadline) do
    paths
    |> Stream.cycle()
    |> Netlink.stream(:route, Dump.request(), max_in_flight: @in_flight, ordered: false)
    |> Enum.reduce_while(0, fn {_path, {:ok, [_, _, _]}}, count ->
      if :erlang.monotonic_time() < deadline, do: {:cont, count + 1}, else: {:halt, count + 1}
    end)
  end

  defp by_callers(contender, paths, size) do
    arguments = Contender.arguments(contender, paths)
    fn -> Measure.throughput(contender.open_close, arguments, @in_flight, @ms[size]) end
  end
end
