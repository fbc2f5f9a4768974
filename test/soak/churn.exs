# Namespaces made, used by random callers who are killed at random points, and destroyed; in the end
# nothing may be left. scripts/soak runs it, in a user namespace of its own:
#
#     NLNS_SOAK_SECONDS=120 NLNS_SEED=... mix run --no-start test/soak/churn.exs

for file <- ~w(patience rtnetlink netns proc),
    do: Code.require_file("../support/#{file}.ex", __DIR__)

for file <- ~w(census tally processes world callers victims rounds closing),
    do: Code.require_file("support/#{file}.exs", __DIR__)

defmodule Nlns.Soak.Churn do
  @moduledoc false

  alias Nlns.Soak.{Census, Closing, Rounds, Tally, World}

  @slots 960
  # The part of the time in which memory grows to what it needs.
  @warm_up 0.3
  @settings [idle_timeout: 1_000, max_helpers: 32]

  def run(seconds, seed) do
    Logger.configure(level: :error)
    {:ok, modules} = :application.get_key(:nlns, :modules)
    Enum.each(modules, &Code.ensure_loaded!/1)
    Tally.new()
    World.new(@slots)
    before = state()
    Census.check!(before.namespaces)

    start = System.monotonic_time(:millisecond)
    Rounds.run(@slots, start, start + round(seconds * 1_000 * @warm_up), {seed, 1})
    plateau = state(before.namespaces).rss_kib
    Rounds.run(@slots, start, start + seconds * 1_000, {seed, 2})

    Closing.table(
      before,
      state(before.namespaces),
      plateau,
      System.monotonic_time(:millisecond) - start
    )
  end

  defp state(namespaces \\ nil) do
    Rounds.start(@settings)
    Rounds.settle()
    Census.state(namespaces)
  end
end

seconds = String.to_integer(System.get_env("NLNS_SOAK_SECONDS", "120"))
seed = System.get_env("NLNS_SEED", "#{System.os_time()}")
IO.puts("churn for #{seconds} s, NLNS_SEED=#{seed}")

if not Nlns.Rtnetlink.cookies?() do
  IO.puts(
    "*** SKIPPED: churn knows namespaces by their cookies, which they have since Linux 5.14"
  )

  System.halt(0)
end

System.halt(Nlns.Soak.Churn.run(seconds, seed))
