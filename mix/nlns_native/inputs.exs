defmodule NlnsNative.Inputs do
  @moduledoc false
  # Everything that decides what the library is, as one digest: the Rust sources, cargo's configuration
  # and the toolchain that it chooses, the environment variables that change what cargo builds, the target.
  #
  # Contents, not times: those of a fetched package say nothing, and a file that has gone has none. Nor
  # paths, so that a build that is copied elsewhere with its project stays what it is.

  @sources ["Cargo.{toml,lock}", "native/{nlns,nlns_core}/**/{Cargo.toml,*.rs}"]

  # All but these of cargo's change at most where it builds, how fast, and what it shows.
  @variables ~w(RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTC_BOOTSTRAP RUSTFLAGS RUSTUP_TOOLCHAIN
    CARGO_ENCODED_RUSTFLAGS)
  @prefixes ~w(CARGO_BUILD_ CARGO_PROFILE_ CARGO_TARGET_ CARGO_UNSTABLE_)
  @places ~w(CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR CARGO_BUILD_BUILD_DIR CARGO_BUILD_JOBS)

  @spec digest(Path.t(), NlnsNative.Target.t(), %{String.t() => String.t()}) :: binary()
  def digest(root, target, env \\ System.get_env()) do
    [
      sources(root),
      settings(root, env),
      variables(env),
      [target.triple | Enum.map(target.env, &Tuple.to_list/1)]
    ]
    |> :erlang.term_to_binary()
    |> :erlang.md5()
  end

  defp sources(root),
    do: for(path <- files(root, @sources), do: {path, File.read!(Path.join(root, path))})

  # As cargo and rustup look for them: here, in each directory above, in cargo's own. Other files in
  # .cargo, because a configuration can include them; not that with the passwords for registries.
  defp settings(root, env) do
    home = Map.get(env, "CARGO_HOME") || Path.expand("~/.cargo")

    places =
      [{home, ~w(config *.toml)}] ++
        for(
          above <- above(root),
          do: {above, ~w(.cargo/config .cargo/*.toml rust-toolchain{,.toml})}
        )

    for {place, patterns} <- places,
        path <- files(place, patterns),
        Path.basename(path) != "credentials.toml",
        {:ok, content} <- [File.read(Path.join(place, path))],
        do: {path, content}
  end

  defp above("/"), do: ["/"]
  defp above(path), do: [path | above(Path.dirname(path))]

  # A directory is no pattern here, whatever characters are in its name.
  defp files(directory, patterns) do
    for pattern <- patterns,
        path <- :filelib.wildcard(to_charlist(pattern), to_charlist(directory)),
        do: to_string(path)
  end

  defp variables(env) do
    for {name, value} <- Enum.sort(env),
        name in @variables or (String.starts_with?(name, @prefixes) and name not in @places),
        do: {name, value}
  end
end
