defmodule Bench.Namespaces do
  @moduledoc """
  Named network namespaces for a while.

  bench/run gives the prefix of their names, which no other run has, and deletes what an interrupted
  one leaves.
  """

  @doc "Runs `fun` with the paths of `count` new namespaces, and deletes them."
  @spec with_new(non_neg_integer(), ([Path.t()] -> result)) :: result when result: term()
  def with_new(count, fun) do
    prefix = System.fetch_env!("NLNS_BENCH_PREFIX")
    names = for _ <- 1..count//1, do: "#{prefix}#{System.unique_integer([:positive])}"
    ip!(for name <- names, do: "netns add #{name}")

    try do
      fun.(for name <- names, do: "/run/netns/#{name}")
    after
      ip!(for name <- names, do: "netns del #{name}")
    end
  end

  @doc "The same with a pair of interfaces in each."
  @spec with_links(non_neg_integer(), ([Path.t()] -> result)) :: result when result: term()
  def with_links(count, fun) do
    with_new(count, fn paths ->
      ip!(
        for name <- Enum.map(paths, &Path.basename/1),
            do: "link add name v0 netns #{name} type veth peer name v1 netns #{name}"
      )

      fun.(paths)
    end)
  end

  @doc "Runs many commands of ip(8) in one process of it."
  @spec ip!([String.t()]) :: :ok
  def ip!(commands) do
    batch = Path.join(System.tmp_dir!(), System.fetch_env!("NLNS_BENCH_PREFIX") <> "batch")
    File.write!(batch, Enum.intersperse(commands, "\n"))
    {output, status} = System.cmd("ip", ["-batch", batch], stderr_to_stdout: true)
    File.rm!(batch)
    if status != 0, do: raise("ip -batch failed: #{output}")
    :ok
  end
end
