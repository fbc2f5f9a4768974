defmodule Mix.Tasks.Compile.NlnsNative do
  @shortdoc "Builds the Rust half of nlns"
  @moduledoc """
  Runs `cargo build --release` for nlns and puts the library into `priv/native`.

  It is part of `mix compile`, in nlns itself and where nlns is a dependency, and does nothing while
  the library is newer than every Rust source. cargo's own progress and errors are shown. The
  environment variables `CARGO_TARGET_DIR` and `CARGO_BUILD_TARGET` mean what they mean to cargo.
  """
  use Mix.Task.Compiler

  @root Path.expand("..", __DIR__)
  @library Path.join(@root, "priv/native/libnlns.so")
  @sources ~w(Cargo.toml Cargo.lock native/**/Cargo.toml native/**/build.rs native/**/src/**/*.rs)

  @impl true
  def run(_args) do
    if stale?() do
      require_cargo!()
      build!()
      install!()
      # Only now is there a priv to link into _build.
      Mix.Project.build_structure()
      {:ok, []}
    else
      {:noop, []}
    end
  end

  @impl true
  def manifests, do: [@library]

  @impl true
  def clean do
    File.rm(@library)
    :ok
  end

  defp stale? do
    sources = Enum.flat_map(@sources, &Path.wildcard(Path.join(@root, &1)))
    Mix.Utils.stale?(sources, [@library])
  end

  defp require_cargo! do
    wanted = wanted_version()

    case System.find_executable("cargo") && System.cmd("cargo", ["--version"], cd: @root) do
      nil ->
        Mix.raise(
          "nlns needs cargo (Rust #{wanted} or newer) to build its native half, and there is none " <>
            "in PATH; see https://rustup.rs"
        )

      {"cargo " <> rest, 0} ->
        found = rest |> String.split([" ", "-", "\n"]) |> hd()

        if Version.compare(found, wanted) == :lt do
          Mix.raise(
            "nlns needs Rust #{wanted} or newer to build its native half, and cargo in PATH is #{found}"
          )
        end

      {_output, status} ->
        Mix.raise("nlns cannot build its native half: \"cargo --version\" ended with #{status}")
    end
  end

  defp wanted_version do
    toml = File.read!(Path.join(@root, "Cargo.toml"))
    [_, version] = Regex.run(~r/^rust-version = "(\d+\.\d+)"/m, toml)
    version <> ".0"
  end

  defp build! do
    args = ["build", "--release", "--locked", "--package", "nlns"]
    options = [cd: @root, into: IO.stream(), stderr_to_stdout: true]

    case System.cmd("cargo", args, options) do
      {_, 0} -> :ok
      {_, status} -> Mix.raise("nlns cannot build its native half: cargo ended with #{status}")
    end
  end

  # By rename: a library that a running VM has mapped must not be written to.
  defp install! do
    target = System.get_env("CARGO_TARGET_DIR") || "target"
    triple = System.get_env("CARGO_BUILD_TARGET") || ""
    built = Path.join([Path.expand(target, @root), triple, "release", "libnlns.so"])
    new = "#{@library}.#{System.pid()}.new"
    File.mkdir_p!(Path.dirname(@library))
    File.cp!(built, new)
    File.touch!(new)
    File.rename!(new, @library)
  end
end
