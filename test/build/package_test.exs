defmodule NlnsNative.PackageTest do
  # What `mix hex.build` would pack, by Hex's own rules. That it can be built is scripts/test-packaging's.
  use ExUnit.Case, async: true

  @config Keyword.delete(Mix.Project.config(), :docs)
  @extras Mix.Project.config()[:docs][:extras]
  @package @config[:package]

  setup_all do
    %{packed: packed(), known: known()}
  end

  test "Hex's fields are there, and in the form that it takes" do
    assert {:ok, _} = Version.parse(@config[:version])
    assert String.length(@config[:description]) in 1..300
    # SPDX's name, https://spdx.org/licenses
    assert @package[:licenses] == ["Apache-2.0"]
    assert @package[:links] != %{}
    for {_name, link} <- @package[:links], do: assert("https://" <> _ = link)
    assert Keyword.keys(@package) -- [:licenses, :links, :files, :exclude_patterns] == []
    # Only packages from Hex can be dependencies, and there are none.
    assert @config[:deps] == []
  end

  test "each pattern leads to something" do
    for pattern <- @package[:files],
        do: assert({pattern, Path.wildcard(pattern)} != {pattern, []})
  end

  test "all of the library, of its build and of its documentation is in it", %{
    packed: packed,
    known: known
  } do
    for directory <- ~w(lib mix native guides .cargo) do
      wanted = Enum.filter(known, &String.starts_with?(&1, directory <> "/"))
      assert wanted != []
      assert wanted -- packed == []
    end

    extras =
      for extra <- @extras,
          do: if(is_tuple(extra), do: to_string(elem(extra, 0)), else: extra)

    assert Enum.uniq(
             extras ++ ~w(mix.exs .formatter.exs Cargo.toml Cargo.lock LICENSE CHANGELOG.md)
           ) --
             packed == []
  end

  test "every member of the Cargo workspace is in it, which cargo asks for", %{packed: packed} do
    [_, members] = Regex.run(~r/^members = \[(.*?)\]/ms, File.read!("Cargo.toml"))
    members = for [_, member] <- Regex.scan(~r/"([^"]+)"/, members), do: member
    assert "native/nlns" in members
    for member <- members, do: assert("#{member}/Cargo.toml" in packed)
  end

  test "files of developers and of builds are not in it", %{
    packed: packed,
    known: known
  } do
    assert Enum.filter(packed, &File.regular?/1) -- known == []

    for path <- packed,
        do: refute(path =~ ~r"^(test|bench|examples|scripts|_build|target|priv)/|/target/|\.so$")
  end

  test "a file that is a link, which Hex packs as one, is not in it", %{packed: packed} do
    for path <- packed,
        do: assert({path, File.lstat!(path).type} in [{path, :regular}, {path, :directory}])
  end

  # What git knows; a copy without .git, as scripts/test-debian makes, has nothing else but what is built.
  defp known do
    if File.exists?(".git") do
      {files, 0} = System.cmd("git", ~w(ls-files --cached --others --exclude-standard))
      String.split(files, "\n", trim: true)
    else
      for path <- File.ls!(), path not in ~w(_build target priv), file <- below(path), do: file
    end
  end

  # As Hex does: each pattern's matches, and all that is below those that are directories.
  defp packed do
    for pattern <- @package[:files],
        found <- Path.wildcard(pattern),
        path <- below(found),
        not Enum.any?(@package[:exclude_patterns], &(path =~ &1)),
        uniq: true,
        do: path
  end

  defp below(path) do
    case File.lstat!(path).type do
      :directory -> [path | path |> File.ls!() |> Enum.flat_map(&below(Path.join(path, &1)))]
      _other -> [path]
    end
  end
end
