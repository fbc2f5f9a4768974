defmodule NlnsNative.Precompiled do
  @moduledoc false
  # A library that was built beforehand, as RustlerPrecompiled names, packs and checks them:
  #
  # - it is called `libnlns-vVERSION-nif-NIF_VERSION-TARGET.so`, with `--VARIANT` before the dot if there are
  #   several, and is alone in an archive of that name with `.tar.gz` after it;
  # - the archive's hash stands in `checksum-Elixir.Nlns.Native.exs`, which is the package's own, or beside the
  #   archive where somebody has built it for himself.

  @checksums "checksum-Elixir.Nlns.Native.exs"

  @typedoc "What the library has to be."
  @type wanted :: %{
          version: String.t(),
          nif_version: String.t(),
          triple: String.t(),
          root: Path.t()
        }

  @doc "What it has to be for the project that is built, whose sources are at `root`."
  @spec wanted(Path.t(), NlnsNative.Target.t()) :: wanted()
  def wanted(root, target) do
    manifest = File.read!(Path.join(root, "Cargo.toml"))
    [_, major, minor] = Regex.run(~r/"nif_version_(\d+)_(\d+)"/, manifest)
    version = Mix.Project.config()[:version]
    %{version: version, nif_version: "#{major}.#{minor}", triple: target.triple, root: root}
  end

  @doc "Returns the library in the archive at `place`, or in the directory there."
  @spec fetch(Path.t(), wanted()) :: {:ok, binary()} | {:error, String.t()}
  def fetch(place, wanted) do
    archive = if File.dir?(place), do: Path.join(place, archive_name(wanted)), else: place
    name = Path.basename(archive)

    with :ok <- check_name(name, wanted),
         {:ok, content} <- read(archive),
         :ok <- check_hash(content, name, [wanted.root, Path.dirname(archive)]) do
      unpack(content, Path.basename(name, ".tar.gz"))
    end
  end

  @doc "Packs a library into an archive in `directory`, and its hash into the file there; returns the archive's path."
  @spec pack!(binary(), Path.t(), wanted()) :: Path.t()
  def pack!(library, directory, wanted) do
    name = archive_name(wanted)
    archive = Path.join(directory, name)
    File.mkdir_p!(directory)
    member = {to_charlist(Path.basename(name, ".tar.gz")), library}
    :ok = :erl_tar.create(to_charlist(archive), [member], [:compressed])

    hashes = directory |> hashes() |> Map.put(name, "sha256:" <> sha256(File.read!(archive)))

    lines =
      for {name, hash} <- Enum.sort(hashes),
          do: ["  ", inspect(name), " => ", inspect(hash), ",\n"]

    File.write!(Path.join(directory, @checksums), ["%{\n", lines, "}\n"])
    archive
  end

  defp archive_name(wanted) do
    "libnlns-v#{wanted.version}-nif-#{wanted.nif_version}-#{wanted.triple}.so.tar.gz"
  end

  defp check_name(name, wanted) do
    %{version: version, nif_version: nif_version, triple: triple} = wanted

    case Regex.run(~r/^libnlns-v(.+)-nif-(\d+\.\d+)-(.+?)(?:--\w+)?\.so\.tar\.gz$/, name,
           capture: :all_but_first
         ) do
      [^version, ^nif_version, ^triple] ->
        :ok

      [^version, ^nif_version, other] ->
        {:error, "it is for #{other}, and the target is #{triple}"}

      [^version, other, _triple] ->
        {:error, "it is for NIF version #{other}, and this nlns is for #{nif_version}"}

      [other, _nif_version, _triple] ->
        {:error, "it is nlns #{other}'s, and this is nlns #{version}"}

      nil ->
        {:error, "its name is not of the form of #{archive_name(wanted)}"}
    end
  end

  defp read(archive) do
    with {:error, reason} <- File.read(archive) do
      {:error, "#{archive}: #{:file.format_error(reason)}"}
    end
  end

  # The package's own list goes before that which came with the archive.
  defp check_hash(content, name, directories) do
    found = Enum.find_value(directories, &hashes(&1)[name])

    cond do
      found == nil ->
        {:error, "there is no hash of it in #{@checksums}, neither nlns's own nor beside it"}

      found == "sha256:" <> sha256(content) ->
        :ok

      true ->
        {:error, "its hash is not the one in #{@checksums}"}
    end
  end

  # Read, not run: a map of strings, and nothing else.
  defp hashes(directory) do
    with {:ok, text} <- File.read(Path.join(directory, @checksums)),
         {:ok, {:%{}, _, pairs}} <- Code.string_to_quoted(text),
         true <-
           Enum.all?(pairs, &match?({name, hash} when is_binary(name) and is_binary(hash), &1)) do
      Map.new(pairs)
    else
      _other -> %{}
    end
  end

  defp sha256(content), do: :sha256 |> :crypto.hash(content) |> Base.encode16(case: :lower)

  defp unpack(content, name) do
    case :erl_tar.extract({:binary, content}, [:compressed, :memory]) do
      {:ok, [{member, library}]} ->
        if to_string(member) == name, do: {:ok, library}, else: {:error, "#{name} is not in it"}

      _other ->
        {:error, "it is no archive of one file"}
    end
  end
end
