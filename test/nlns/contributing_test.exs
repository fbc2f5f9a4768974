defmodule Nlns.ContributingTest do
  # CONTRIBUTING.md is a map: what it names exists, and what exists is on it.
  use ExUnit.Case, async: true

  @text File.read!("CONTRIBUTING.md")
  @named for [_, name] <- Regex.scan(~r/`([^`\n]+)`/, @text), do: name

  test "scripts_and_test_directories_are_named" do
    directories = Enum.filter(Path.wildcard("test/*"), &File.dir?/1)

    for path <- Path.wildcard("scripts/*") ++ directories ++ ["native/nlns_core/tests"],
        do: assert({path, path in @named} == {path, true})
  end

  test "modules_of_the_library_are_named" do
    for path <- Path.wildcard("lib/nlns/*.ex"), name = Path.basename(path) do
      assert {name, name in @named} == {name, true}
    end
  end

  test "named_files_exist" do
    files = Enum.filter(@named, &(&1 =~ ~r{^[\w./-]+$} and &1 =~ ~r{/$|/\w*[a-z]|\.(ex|rs|md)$}))
    assert length(files) > 60

    for name <- files do
      found =
        Enum.any?(
          ["", "lib/nlns", "native/nlns_core/tests"],
          &(&1 |> Path.join(name) |> File.exists?())
        )

      assert {name, found} == {name, true}
    end
  end

  test "named_goals_of_make_exist" do
    makefile = File.read!("Makefile")
    goals = for "make " <> goals <- @named, goal <- String.split(goals), do: goal
    assert length(goals) > 10
    for goal <- goals -- ["-n"], do: assert({goal, makefile =~ ~r/^#{goal}:/m} == {goal, true})
  end

  test "definitions_to_change_are_in_their_files" do
    for {definition, file} <- [
          {"@protocols", "lib/nlns/netlink/exchange.ex"},
          {"@table", "lib/nlns/spec/protocols.ex"},
          {"enum EventKind", "native/nlns_core/src/events.rs"},
          {"enum Stage", "native/nlns_core/src/error.rs"},
          {"@steps", "lib/nlns/error.ex"},
          {"@hints", "lib/nlns/error/hints.ex"},
          {"@defaults", "lib/nlns/config.ex"},
          {"TABLE", "native/nlns_core/src/features.rs"},
          {"struct Info", "native/nlns_core/src/pool/info.rs"}
        ] do
      assert @text =~ definition |> String.split() |> List.last()
      assert @text =~ file
      assert File.read!(file) =~ definition
    end
  end
end
