defmodule Nlns.Soak.Rounds do
  @moduledoc false
  # Rounds of some seconds, each with the application started anew with settings of its own: makers,
  # callers and victims at once, then everybody stops and all that is left is destroyed.

  alias Nlns.Proc
  alias Nlns.Soak.{Callers, Census, Tally, Victims, World}

  @round 6_000
  @makers 2
  @callers 24
  @victims 6
  # Of one maker, made anew at a time. Tearing down takes the kernel some 50 ms, however many they are,
  # in which it makes none.
  @batch 200
  # Between two actions of a caller, at most. Without it they have the processors for themselves.
  @pause 20

  # By turns, the first the one that keeps what is not let go of.
  @lingers [:infinity, 0, 20, 1_000]
  @max_helpers [2, 16, 64, 256]

  @doc "Rounds until that time."
  def run(slots, start, until, seed) do
    :rand.seed(:exsss, :erlang.phash2(seed))

    Stream.cycle(@lingers)
    |> Stream.map(&round(slots, start, min(now() + @round, until), :rand.bytes(8), &1))
    |> Enum.find(fn _ -> now() >= until end)
  end

  @doc "Starts the application anew."
  def start(settings) do
    Application.stop(:nlns)
    Application.put_all_env(nlns: settings)
    :ok = Application.start(:nlns)
  end

  @doc "Waits until the pool is idle: nobody pinned, one helper."
  def settle do
    idle? = fn ->
      match?(%{waiting: 0, paths: 0, closing: 0, helpers: [%{path: nil}]}, Nlns.info()) and
        length(Proc.helper_threads()) == 1
    end

    if not Census.eventually(idle?), do: Tally.violation("not idle: #{inspect(Nlns.info())}")
  end

  defp round(slots, start, until, seed, idle_timeout) do
    settings = [idle_timeout: idle_timeout, max_helpers: Enum.random(@max_helpers)]
    start(settings)

    makers =
      for n <- 0..(@makers - 1) do
        mine = Enum.filter(0..(slots - 1), &(rem(div(&1, 16), @makers) == n))
        looping({seed, :maker, n}, until, fn -> make(mine) end, fn -> World.destroy(mine) end)
      end

    callers = for n <- 1..@callers, do: looping({seed, :caller, n}, until, &Callers.act/1, slots)
    victims = for n <- 1..@victims, do: looping({seed, :victim, n}, until, &Victims.act/1, slots)
    for task <- callers ++ victims ++ makers, do: Task.await(task, Nlns.Patience.within(120_000))

    # All was destroyed, so nobody may be anywhere, whatever idle_timeout says, and nothing be remembered.
    if not Census.eventually(&left?/0, 10_000),
      do: Tally.violation("after all was destroyed: #{inspect(Nlns.info(), limit: 500)}")

    IO.puts(progress(start, settings))
  end

  defp left? do
    info = Nlns.info()

    match?(%{waiting: 0, paths: 0, closing: 0, stuck: 0, died: 0}, info) and
      Enum.all?(info.helpers, &(&1.path == nil)) and Proc.threads_outside() == []
  end

  defp make(mine),
    do: mine |> Enum.take_random(@batch) |> World.renew() |> then(&Tally.count(:made, &1))

  defp looping(seed, until, act, slots) when is_integer(slots) do
    act = fn ->
      act.(slots)
      Process.sleep(:rand.uniform(@pause))
    end

    looping(seed, until, act, fn -> :ok end)
  end

  defp looping(seed, until, act, finish) do
    Task.async(fn ->
      :rand.seed(:exsss, :erlang.phash2(seed))
      loop(until, act)
      finish.()
      refute_messages()
    end)
  end

  defp loop(until, act) do
    if now() < until do
      act.()
      loop(until, act)
    end
  end

  # A port's last word may come after it was waited for, everything of nlns may not.
  defp refute_messages do
    {:messages, messages} = Process.info(self(), :messages)

    for {:nlns, _, _} = message <- messages,
        do: Tally.violation("left in the mailbox: #{inspect(message)}")
  end

  defp progress(start, settings) do
    elapsed = Float.round((now() - start) / 1_000, 1)
    killed = for({{:killed, _}, count} <- Tally.all(), do: count) |> Enum.sum()

    "#{elapsed} s  #{inspect(settings)}  made #{Tally.counted(:made)}  " <>
      "opened and compared #{Tally.counted(:opened)}  killed #{killed}  " <>
      "resident #{div(Census.rss_kib(), 1024)} MiB"
  end

  defp now, do: System.monotonic_time(:millisecond)
end
