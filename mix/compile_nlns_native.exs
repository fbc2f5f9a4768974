for part <- ~w(json elf target inputs cargo precompiled) do
  Code.require_file("nlns_native/#{part}.exs", __DIR__)
end

defmodule Mix.Tasks.Compile.NlnsNative do
  @shortdoc "Builds the Rust half of nlns"
  @moduledoc """
  Runs `cargo build --release` for nlns and puts the library into the build's `priv/native`.

  It is part of `mix compile`, in nlns itself and where nlns is a dependency. It does nothing, so that cargo
  need not be there, while the library is that of the Rust sources, of cargo's configuration and of the
  environment variables as they are; `--force` builds in any case. cargo's own progress and errors are
  shown, and its settings and environment variables (`CARGO_TARGET_DIR`, `CARGO_BUILD_TARGET`, ...) mean what
  they mean to it.

    * `NLNS_PRECOMPILED`: a library built beforehand, or a directory with one, which is taken instead
    * `TARGET_ARCH`, `TARGET_OS`, `TARGET_ABI`, `CROSSCOMPILE`, `CC`: for which machine, as Nerves sets them

  The guide `guides/building.md` has more of each.
  """
  use Mix.Task.Compiler

  alias NlnsNative.{Cargo, Elf, Inputs, Precompiled, Target}

  @root Path.expand("..", __DIR__)

  @impl true
  def run(args) do
    target = Target.wanted!()
    precompiled = System.get_env("NLNS_PRECOMPILED", "")
    library = if precompiled != "", do: take!(precompiled, target)
    inputs = library || Inputs.digest(@root, target)
    digest = :erlang.md5(inputs)

    if "--force" in args or not built?(digest) do
      install!(library || build!(target))
      File.mkdir_p!(Path.dirname(manifest()))
      File.write!(manifest(), digest)
      {:ok, []}
    else
      {:noop, []}
    end
  end

  @impl true
  def manifests, do: [manifest()]

  @impl true
  def clean do
    File.rm(manifest())
    File.rm(library())
    :ok
  end

  # In the build, not among the sources, which may be read-only or another project's too.
  defp library, do: Path.join(Mix.Project.app_path(), "priv/native/libnlns.so")
  defp manifest, do: Path.join(Mix.Project.manifest_path(), "compile.nlns_native")

  defp built?(digest), do: File.read(manifest()) == {:ok, digest} and File.exists?(library())

  defp build!(target) do
    path = Cargo.build!(@root, target)
    library = File.read!(path)

    with {:error, why} <- Elf.check(library, target.triple) do
      Mix.raise(
        "nlns cannot use the native half that cargo has built: #{path} #{why}, and the target is " <>
          "#{target.triple}; set CARGO_BUILD_TARGET to the target that is meant, and " <>
          "#{Target.linker_variable(target.triple)} to a linker for it"
      )
    end

    library
  end

  defp take!(place, target) do
    with {:ok, library} <- Precompiled.fetch(place, Precompiled.wanted(@root, target)),
         :ok <- Elf.check(library, target.triple) do
      library
    else
      {:error, why} ->
        Mix.raise("nlns cannot use the library that NLNS_PRECOMPILED names, #{place}: #{why}")
    end
  end

  # By rename: a library that a running VM has mapped must not be written to.
  defp install!(library) do
    new = "#{library()}.#{System.pid()}.new"
    File.mkdir_p!(Path.dirname(new))
    File.write!(new, library)
    File.rename!(new, library())
  end
end
