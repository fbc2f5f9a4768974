defmodule Mix.Tasks.Compile.NlnsNative do
  @shortdoc "Builds the Rust half of nlns"
  @moduledoc """
  Runs `cargo build --release` for nlns and puts the library into the build's `priv/native`.

  It is part of `mix compile`, in nlns itself and where nlns is a dependency, and does nothing, so
  that cargo need not be there, while the library is that of the Rust sources as they are;
  `--force` builds in any case. cargo's own progress and errors are shown, and its settings and
  environment variables (`CARGO_TARGET_DIR`, `CARGO_BUILD_TARGET`, ...) mean what they mean to it.
  """
  use Mix.Task.Compiler

  @root Path.expand("..", __DIR__)
  @sources ["Cargo.{toml,lock}", "native/{nlns,nlns_core}/**/{Cargo.toml,*.rs}"]

  @impl true
  def run(args) do
    digest = digest()

    if "--force" in args or not built?(digest) do
      require_cargo!()
      install!(build!())
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

  # Not times: those of a fetched package say nothing, and a file that has gone has none.
  defp digest do
    files = Enum.flat_map(@sources, &:filelib.wildcard(to_charlist(&1), to_charlist(@root)))
    target = [System.get_env("CARGO_BUILD_TARGET", ""), :erlang.system_info(:system_architecture)]
    :erlang.md5([target | Enum.map(files, &[&1, 0, File.read!(Path.join(@root, &1))])])
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

  # The path of the library, which cargo tells: settings of its own say where that is.
  defp build! do
    # rustler asks for a newer Rust than its sources need in the version that Cargo.lock has.
    args =
      ~w(build --release --locked --package nlns --ignore-rust-version) ++
        ["--message-format=json-render-diagnostics"]

    with {messages, 0} <- System.cmd("cargo", args, cd: @root, env: target_dir()),
         [_ | _] = paths <- Regex.scan(~r{"(/[^"]*/libnlns\.so)"}, messages) do
      paths |> List.last() |> List.last()
    else
      {_messages, status} ->
        Mix.raise("nlns cannot build its native half: cargo ended with #{status}")

      [] ->
        Mix.raise("nlns cannot build its native half: cargo has made no libnlns.so")
    end
  end

  defp target_dir do
    case File.stat(@root) do
      {:ok, %{access: access}} when access in [:write, :read_write] ->
        []

      _read_only ->
        default = Path.join(Mix.Project.build_path(), "nlns_target")
        [{"CARGO_TARGET_DIR", System.get_env("CARGO_TARGET_DIR", default)}]
    end
  end

  # By rename: a library that a running VM has mapped must not be written to.
  defp install!(built) do
    new = "#{library()}.#{System.pid()}.new"
    File.mkdir_p!(Path.dirname(new))
    File.cp!(built, new)
    File.rename!(new, library())
  end
end
