defmodule Bench.W9 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Contender, Measure, Namespaces, Native, Requirement, Rounds, Stats}

  @opens %{full: 30_000, quick: 4_000}
  @ms %{full: 500, quick: 100}
  @callers [1, 64]
  # In the order of timed_open/1. The last is no call of nlns: it shows what the machine does to any.
  @calls [:open, :take, :close_fd, :floor]

  @impl true
  def title, do: "how long each NIF call of an open holds its scheduler; dirty schedulers"

  @impl true
  def run(size) do
    rows =
      Namespaces.with_new(1, fn [path] = paths ->
        held = for n <- @callers, do: {{"nlns", n}, fn -> held(path, n, @opens[size]) end}

        dirty =
          for contender <- [Contender.nlns(), Contender.throwaway()] do
            {{contender.name <> ", uninstrumented", 64},
             fn -> dirty(contender, paths, @ms[size]) end}
          end

        Rounds.run(size, held ++ dirty)
      end)

    held =
      for call <- @calls -- [:floor], n <- @callers do
        text = "#{call}, p99 µs, callers: #{n}"
        Requirement.absolute(rows, text, :"#{call}_p99", {"nlns", n}, {:at_most, 20})
      end

    text = "dirty schedulers at work"
    dirty = Requirement.absolute(rows, text, :dirty, {"nlns, uninstrumented", 64}, {:at_most, 0})
    %{rows: rows, requirements: held ++ [dirty], plot: nil}
  end

  # Times of the calls that Nlns.open_in_netns/2 makes.
  defp held(path, callers, opens) do
    each = div(opens, callers)
    times = for _ <- @calls, do: :atomics.new(each * callers, [])

    0..(callers - 1)
    |> Enum.map(fn n -> Task.async(fn -> timed_opens(path, times, n * each + 1, each) end) end)
    |> Task.await_many(:infinity)

    values =
      for {call, times} <- Enum.zip(@calls, times),
          {values, _curve} =
            Stats.latencies(for i <- 1..(each * callers), do: :atomics.get(times, i)),
          {name, value} <- values,
          into: %{} do
        {:"#{call}_#{name}", value}
      end

    %{values: values}
  end

  defp timed_opens(path, times, first, count) do
    for i <- first..(first + count - 1) do
      for {times, time} <- Enum.zip(times, timed_open(path)), do: :atomics.put(times, i, time)
    end
  end

  defp timed_open(path) do
    ref = make_ref()
    {open, {:ok, resource}} = timed(fn -> Nlns.Native.open(path, 16, 3, 0, ref) end)

    receive do
      {:nlns, ^ref, :ok} -> :ok
    end

    {take, {:ok, fd}} = timed(fn -> Nlns.Native.take(resource) end)
    {close_fd, :ok} = timed(fn -> Nlns.Native.close_fd(fd, ref) end)
    {floor, {:ok, fd}} = timed(fn -> Native.floor(0) end)
    Native.close(fd)
    [open, take, close_fd, floor]
  end

  # Yields first: with its time slice nearly used up, the process would be rescheduled between the two
  # clocks, and the wait for its turn would look like the call's.
  defp timed(call) do
    :erlang.yield()
    start = :erlang.monotonic_time()
    result = call.()
    {:erlang.monotonic_time() - start, result}
  end

  # How many dirty schedulers, CPU and I/O, are at work on average.
  defp dirty(contender, paths, ms) do
    :erlang.system_flag(:scheduler_wall_time, true)
    arguments = Contender.arguments(contender, paths)
    start = :erlang.monotonic_time()
    active = dirty_active()
    Measure.throughput(contender.open_close, arguments, 64, ms)
    active = dirty_active() - active
    elapsed = :erlang.monotonic_time() - start
    :erlang.system_flag(:scheduler_wall_time, false)
    %{values: %{dirty: active / elapsed}}
  end

  defp dirty_active do
    normal = :erlang.system_info(:schedulers)

    for {id, active, _} <- :erlang.statistics(:scheduler_wall_time_all), id > normal, reduce: 0 do
      sum -> sum + active
    end
  end
end
