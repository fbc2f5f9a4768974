defmodule NlnsNative.Cargo do
  @moduledoc false
  # Builds the library with cargo, whose own progress and errors are shown.

  alias NlnsNative.{Json, Target}

  @doc "Returns the path of the library."
  @spec build!(Path.t(), Target.t()) :: Path.t()
  def build!(root, target) do
    require_cargo!(root)

    # rustler asks for a newer Rust than its sources need in the version that Cargo.lock has.
    args =
      ~w(build --release --locked --package nlns --ignore-rust-version) ++
        ["--message-format=json-render-diagnostics"]

    case System.cmd("cargo", args, cd: root, env: target.env ++ target_dir(root)) do
      {messages, 0} ->
        library(messages) ||
          Mix.raise(
            "nlns cannot build its native half: cargo has made no libnlns.so for #{target.triple}"
          )

      {_messages, status} ->
        Mix.raise("nlns cannot build its native half: cargo ended with #{status}" <> hint(target))
    end
  end

  @doc """
  The path of the library, from cargo's messages: settings of its own say where that is.

  They are one to a line, among lines that are none where cargo is a script that says something itself.
  """
  @spec library(String.t()) :: Path.t() | nil
  def library(messages) do
    for line <- String.split(messages, "\n"),
        {:ok, %{"reason" => "compiler-artifact", "filenames" => paths}} <- [Json.decode(line)],
        path <- paths,
        Path.basename(path) == "libnlns.so",
        reduce: nil,
        do: (_earlier -> path)
  end

  @doc "The version that cargo says it has."
  @spec version(String.t()) :: String.t() | nil
  def version(output) do
    with [_, version] <- Regex.run(~r/^cargo (\d+\.\d+\.\d+)/m, output), do: version
  end

  @doc "The least version that will do, from the manifest."
  @spec least_version(Path.t()) :: String.t()
  def least_version(root) do
    manifest = File.read!(Path.join(root, "Cargo.toml"))
    [_, version] = Regex.run(~r/^rust-version = "(\d+\.\d+)"/m, manifest)
    version <> ".0"
  end

  defp require_cargo!(root) do
    wanted = least_version(root)
    needs = "nlns needs cargo (Rust #{wanted} or newer) to build its native half, and "

    case System.find_executable("cargo") && System.cmd("cargo", ["--version"], cd: root) do
      nil ->
        Mix.raise(
          needs <>
            "there is none in PATH; see https://rustup.rs, or set NLNS_PRECOMPILED to a library built beforehand"
        )

      {output, 0} ->
        found =
          version(output) ||
            Mix.raise(needs <> "\"cargo --version\" says #{inspect(String.trim(output))}")

        if Version.compare(found, wanted) == :lt do
          Mix.raise(needs <> "cargo in PATH is #{found}; see https://rustup.rs")
        end

      {_output, status} ->
        Mix.raise("nlns cannot build its native half: \"cargo --version\" ended with #{status}")
    end
  end

  # Not among the sources, where those cannot be written to.
  defp target_dir(root) do
    case File.stat(root) do
      {:ok, %{access: access}} when access in [:write, :read_write] ->
        []

      _read_only ->
        default = Path.join(Mix.Project.build_path(), "nlns_target")
        told = Enum.find_value(~w(CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR), &System.get_env/1)
        [{"CARGO_TARGET_DIR", told || default}]
    end
  end

  # cargo's words name what is missing, but not where it comes from.
  defp hint(%Target{env: []}), do: ""

  defp hint(%Target{triple: triple}) do
    "; for #{triple} it needs that target's standard library (rustup target add #{triple}) and a linker " <>
      "for it (CC or #{Target.linker_variable(triple)})"
  end
end
