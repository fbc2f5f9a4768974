defmodule Nlns.VM.FuzzTest do
  # The NIF border under random terms (promise 9): nothing but a result as specified or ArgumentError,
  # no crash, and in the end no descriptor and no thread more than before.
  #
  #     NLNS_FUZZ_ROUNDS=1000000 NLNS_FUZZ_SEED=42 mix test test/vm/fuzz_test.exs
  use Nlns.VM

  @rounds String.to_integer(System.get_env("NLNS_FUZZ_ROUNDS", "10000"))
  # 7,000 calls a second on a machine that has other things to do, with room for a slower one.
  @bound 30_000 + div(@rounds, 2)

  @tag timeout: within(2 * @bound)
  test "every function of Nlns.Native takes any terms" do
    fuzz([Nlns.Native], @rounds)
  end

  @tag timeout: within(2 * @bound)
  test "every public function takes any terms" do
    # Some of these wait: half as many.
    fuzz([Nlns, Nlns.Handle], div(@rounds, 2))
  end

  defp fuzz(modules, rounds) do
    given = System.get_env("NLNS_FUZZ_SEED")
    seed = if given, do: String.to_integer(given), else: :rand.uniform(1_000_000_000)
    paths = for _ <- 1..3, do: netns()
    odd = ["/proc/self/ns/mnt", "/run/netns", "/dev/null", "", ".", "/not/there", "a\0b"]
    bindings = [modules: modules, seed: seed, rounds: rounds, paths: paths ++ odd]

    vm bindings, config: [idle_timeout: 20], bound: @bound do
      # The seed is part of whatever goes wrong.
      IO.puts("NLNS_FUZZ_SEED=#{seed} rounds=#{rounds}")
      Logger.configure(level: :none)
      files = fn -> length(File.ls!("/proc/self/fd")) end
      before = files.()
      functions = Enum.flat_map(modules, &Nlns.VM.Fuzz.functions/1)
      assert length(functions) >= 5
      {wrong, reached} = Nlns.VM.Fuzz.run(functions, paths, seed, rounds)

      for {_, text} <- wrong, do: IO.puts("not as specified: " <> text)
      # What it did to the pool is undone by a stop and a start.
      Application.stop(:nlns)
      Application.ensure_started(:nlns)
      assert open(hd(paths)) == :ok
      assert strays() == []
      assert Application.stop(:nlns) == :ok
      assert poll(fn -> pool_threads() == [] end)
      assert poll(fn -> sockets() == 0 end)
      assert poll(fn -> files.() <= before end)

      # Or the terms were too wild to show anything. (A function with a bang reaches what its namesake does.)
      for {module, name, _, _} <- functions,
          name not in [:format_error, :await] and not String.ends_with?("#{name}", "!") do
        assert {module, name} in reached
      end

      assert map_size(wrong) == 0
    end
  end
end
