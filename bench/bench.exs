# The benchmark's entry; started by bench/run, which builds what it needs. bench/README.md explains it.

if Mix.env() != :prod do
  Mix.raise("the benchmark measures a production build: MIX_ENV=prod")
end

# Compiled to files, not just loaded, so that a second VM can load them too.
ebin = Path.join(Mix.Project.build_path(), "nlns_bench/ebin")
File.mkdir_p!(ebin)
sources = Path.wildcard(Path.join(__DIR__, "{lib,workloads}/*.ex"))
{:ok, _modules, _warnings} = Kernel.ParallelCompiler.compile_to_path(sources, ebin)
Code.prepend_path(ebin)

Bench.main(System.argv())
