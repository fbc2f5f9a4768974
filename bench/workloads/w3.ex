defmodule Bench.W3 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Contender, Measure, Namespaces, Requirement, Rounds}

  @ms %{full: 800, quick: 150}
  @depth 64

  @impl true
  def title, do: "one caller, asynchronous, 64 in flight; the others with 64 callers"

  @impl true
  def run(size) do
    ms = @ms[size]

    rows =
      Namespaces.with_new(1, fn [path] = paths ->
        others =
          for contender <- [Contender.throwaway(), Contender.otp(), Contender.floor()] do
            arguments = Contender.arguments(contender, paths)
            measure = fn -> Measure.throughput(contender.open_close, arguments, @depth, ms) end
            {{contender.name, @depth}, measure}
          end

        received = fn -> Measure.at_once([&receive_all(path, &1)], ms) end
        awaited = fn -> Measure.at_once([&await_all(path, &1)], ms) end

        Rounds.run(size, [
          {{"nlns", @depth}, received},
          {{"nlns, awaited in turn", @depth}, awaited} | others
        ])
      end)

    nlns = {"nlns", @depth}

    requirements = [
      Requirement.ratio(
        rows,
        "rate, nlns / throwaway",
        :rate,
        {nlns, {"throwaway", @depth}},
        {:at_least, 6}
      ),
      Requirement.ratio(
        rows,
        "rate, nlns / floor",
        :rate,
        {nlns, {"floor", @depth}},
        {:at_least, 0.55}
      )
    ]

    %{rows: rows, requirements: requirements, plot: nil}
  end

  # As a GenServer would: whichever answer comes, its handle is closed and another one asked for.
  defp receive_all(path, deadline) do
    for _ <- 1..@depth, do: Nlns.open_in_netns_async(path, 0)
    received = receive_until(path, deadline, 0)
    for _ <- 1..@depth, do: close_next()
    received + @depth
  end

  defp receive_until(path, deadline, count) do
    close_next()
    Nlns.open_in_netns_async(path, 0)

    if :erlang.monotonic_time() < deadline,
      do: receive_until(path, deadline, count + 1),
      else: count + 1
  end

  defp close_next do
    receive do
      {:nlns, _ref, {:ok, handle}} -> Nlns.Handle.close(handle)
    end
  end

  # As a script would: the oldest of the requests is awaited, its descriptor closed.
  defp await_all(path, deadline) do
    requests = for _ <- 1..@depth, do: Nlns.open_in_netns_async(path, 0)
    await_until(path, deadline, :queue.from_list(requests), 0)
  end

  defp await_until(path, deadline, requests, count) do
    {{:value, oldest}, requests} = :queue.out(requests)
    await_close(oldest)

    if :erlang.monotonic_time() < deadline do
      requests = :queue.in(Nlns.open_in_netns_async(path, 0), requests)
      await_until(path, deadline, requests, count + 1)
    else
      rest = :queue.to_list(requests)
      Enum.each(rest, &await_close/1)
      count + 1 + length(rest)
    end
  end

  defp await_close(request) do
    {:ok, handle} = Nlns.await(request)
    :ok = Nlns.Handle.close(handle)
  end
end
