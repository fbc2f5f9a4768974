# The benchmark's entry; started by bench/run, which builds what it needs. bench/README.md explains it.

build = System.get_env("NLNS_BENCH_BUILD") || raise "the benchmark is started by bench/run"

# Compiled to files, not just loaded, so that a second VM can load them too.
ebin = Path.join(build, "ebin")
# W17 measures the example agent's own reading.
agent = "../examples/agent"
own = ["lib/*.ex", "workloads/*.ex"]
others = ["#{agent}/lib/netns_agent/{config,netlink,sample,text}.ex", "#{agent}/demo/socket.exs"]
sources = Enum.flat_map(own ++ others, &Path.wildcard(Path.join(__DIR__, &1)))
{:ok, _modules, _warnings} = Kernel.ParallelCompiler.compile_to_path(sources, ebin)
Code.prepend_path(ebin)

{:ok, _} = Application.ensure_all_started(:nlns)
Bench.main(System.argv())
