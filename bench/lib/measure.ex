defmodule Bench.Measure do
  @moduledoc """
  One measurement: a contender's latencies or its throughput, once.

  Each runs in new processes, so that no heap or mailbox is inherited, and warms up before it counts.
  """

  alias Bench.{Native, Stats}

  @warm_up 30

  @doc """
  The latencies of `samples` calls, one after the other, by one caller.

  Options: `:warm_up` (calls before), `:before` (run in the caller first), `:pause` (ms of sleep before
  each call).
  """
  def latencies(call, arguments, samples, options \\ []) do
    alone(fn ->
      Keyword.get(options, :before, fn -> :ok end).()
      size = tuple_size(arguments)

      for i <- 1..Keyword.get(options, :warm_up, @warm_up)//1,
          do: call.(elem(arguments, rem(i, size)))

      # Not a list: collecting the garbage of the measurement would be measured.
      times = :atomics.new(samples, [])
      cpu = Native.cpu_time()
      time_each(call, arguments, times, 1, samples, options[:pause])
      cpu = Native.cpu_time() - cpu
      summary(times, samples, cpu)
    end)
  end

  defp time_each(call, arguments, times, i, samples, pause) when i <= samples do
    argument = elem(arguments, rem(i, tuple_size(arguments)))
    pause && Process.sleep(pause)
    start = :erlang.monotonic_time()
    call.(argument)
    :atomics.put(times, i, :erlang.monotonic_time() - start)
    time_each(call, arguments, times, i + 1, samples, pause)
  end

  defp time_each(_call, _arguments, _times, _i, _samples, _pause), do: :ok

  defp summary(times, samples, cpu) do
    {values, curve} = Stats.latencies(for i <- 1..samples, do: :atomics.get(times, i))
    %{values: Map.put(values, :cpu, cpu / samples / 1000), curve: curve}
  end

  @doc "Calls per second by `callers` processes for about `ms`, each going round the arguments in turn."
  def throughput(call, arguments, callers, ms) do
    # Starts of the rounds, spread evenly.
    starts = for i <- 0..(callers - 1), do: div(i * tuple_size(arguments), callers)
    callers = for start <- starts, do: &call_until(call, arguments, start, &1, 0)
    at_once(callers, div(ms, 5))
    at_once(callers, ms)
  end

  defp call_until(call, arguments, i, deadline, count) do
    if :erlang.monotonic_time() < deadline do
      call.(elem(arguments, i))
      next = if i + 1 == tuple_size(arguments), do: 0, else: i + 1
      call_until(call, arguments, next, deadline, count + 1)
    else
      count
    end
  end

  @doc """
  What processes that start together do per second. Each function gets the deadline, `ms` from the
  start (as `:erlang.monotonic_time/0`), and answers how much it did.
  """
  def at_once(functions, ms) do
    alone(fn ->
      tasks = for function <- functions, do: Task.async(fn -> function.(deadline()) end)
      cpu = Native.cpu_time()
      start = :erlang.monotonic_time()
      deadline = start + ms * 1_000_000
      for task <- tasks, do: send(task.pid, {:start, deadline})
      count = tasks |> Task.await_many(:infinity) |> Enum.sum()
      elapsed = :erlang.monotonic_time() - start
      cpu = Native.cpu_time() - cpu
      %{values: %{rate: count * 1.0e9 / elapsed, cpu: cpu / count / 1000}}
    end)
  end

  defp deadline do
    receive do
      {:start, deadline} -> deadline
    end
  end

  @doc "Runs it in a process of its own."
  def alone(fun), do: fun |> Task.async() |> Task.await(:infinity)
end
