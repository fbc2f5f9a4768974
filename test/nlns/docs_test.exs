defmodule Nlns.DocsTest do
  # What the pages name is there: links, functions, tests. Every link leads somewhere, in the checkout and in what
  # Hex packs. That their code runs: docs_code_test.exs.
  use ExUnit.Case, async: true

  @pages ["README.md", "CHANGELOG.md" | Path.wildcard("guides/*.md")]
  @packed ["LICENSE" | @pages]
  @pages_of_developers ~w(CONTRIBUTING.md SECURITY.md bench/README.md examples/agent/README.md) ++
                         ["native/nlns_core/README.md"]

  for page <- @pages do
    @page page
    test "links_of_#{page}_lead_to_packed_files" do
      for target <- targets(@page), not (target =~ ~r/^(https?:|#)/) do
        path =
          @page |> Path.dirname() |> Path.join(target) |> Path.expand() |> Path.relative_to_cwd()

        assert {path, path in @packed} == {path, true}
      end
    end
  end

  for page <- @pages ++ @pages_of_developers do
    @page page
    test "links_of_#{page}_into_the_repository_lead_to_files" do
      for target <- targets(@page), path = path(target), path != nil do
        assert {path, File.exists?(path)} == {path, true}
      end
    end
  end

  for page <- @pages_of_developers do
    @page page
    test "links_of_#{page}_lead_to_files" do
      for target <- targets(@page), not (target =~ ~r/^(https?:|#)/) do
        assert {target, @page |> Path.dirname() |> Path.join(target) |> File.exists?()} ==
                 {target, true}
      end
    end
  end

  test "exdoc_gets_every_page_once_and_modules_that_exist" do
    docs = Mix.Project.config()[:docs]
    # The README is the module documentation of Nlns.
    assert Enum.sort(["README.md" | docs[:extras]]) == Enum.sort(@pages)
    assert docs[:main] == "Nlns"

    for {_group, modules} <- docs[:groups_for_modules], module <- modules do
      assert {:docs_v1, _, _, _, %{}, _, _} = Code.fetch_docs(module)
    end
  end

  test "the table of kernel features is that of the library" do
    page = File.read!("guides/operations.md")
    # As code: ExDoc leaves out what else is in braces.
    quoted = &String.replace(&1, ~r/{[^}]*}/, "`\\0`")

    for %{name: name, since: {major, minor}, gives: gives, stand_in: stand_in} <-
          Nlns.Native.features() do
      assert page =~
               "\n| #{name} | #{major}.#{minor} | #{quoted.(gives)} | #{quoted.(stand_in)} |\n"
    end
  end

  # ExDoc finds a page by its base name.
  test "links_of_module_docs_lead_to_pages" do
    pages = Enum.map(Mix.Project.config()[:docs][:extras], &Path.basename/1)
    {:ok, modules} = :application.get_key(:nlns, :modules)

    links =
      for module <- modules,
          {:docs_v1, _, _, _, %{"en" => text}, _, docs} <- [Code.fetch_docs(module)],
          text <- [text | for({_, _, _, %{"en" => text}, _} <- docs, do: text)],
          [_, target] <- Regex.scan(~r/\]\(([^)\s:]+\.md)[^)]*\)/, text),
          do: {module, target}

    assert List.keymember?(links, Nlns, 0)

    for {module, target} <- links,
        do: assert({module, target, Path.basename(target) in pages} == {module, target, true})
  end

  test "each_function_of_nlns_is_in_one_group" do
    groups = Mix.Project.config()[:docs][:groups_for_docs]
    {:docs_v1, _, _, _, _, _, docs} = Code.fetch_docs(Nlns)

    for {{:function, name, _}, _, _, %{}, metadata} <- docs do
      assert [_] = Enum.filter(groups, fn {_, in?} -> in?.(metadata) end), "#{name}"
    end
  end

  test "each_public_function_says_since_when" do
    {:ok, modules} = :application.get_key(:nlns, :modules)

    for module <- modules,
        # Not those of test/support.
        to_string(module.module_info(:compile)[:source]) =~ "/lib/nlns",
        {:docs_v1, _, _, _, %{}, _, docs} <- [Code.fetch_docs(module)],
        {{:function, name, arity}, _, _, %{}, metadata} <- docs do
      assert {module, name, arity, metadata[:since]} == {module, name, arity, "0.1.0"}
    end
  end

  test "each_function_that_fails_has_one_that_raises" do
    for module <- [Nlns, Nlns.Handle, Nlns.Netlink],
        Code.ensure_loaded!(module),
        {:ok, specs} = Code.Typespec.fetch_specs(module),
        {{name, arity}, clauses} <- specs,
        name = to_string(name),
        not String.ends_with?(name, "!") and name != "info" and fails?(clauses) do
      assert function_exported?(module, :"#{name}!", arity), "#{name}/#{arity}"
    end
  end

  # https://keepachangelog.com
  test "changelog_has_this_version_and_only_the_usual_headings" do
    text = File.read!("CHANGELOG.md")
    version = Mix.Project.config()[:version]
    assert text =~ ~r/^## \[#{Regex.escape(version)}\] - (\d{4}-\d\d-\d\d|not yet released)$/m
    assert text =~ ~r/^\[#{Regex.escape(version)}\]: /m

    for [_, heading] <- Regex.scan(~r/^### (.*)$/m, text),
        do: assert(heading in ~w(Added Changed Deprecated Removed Fixed Security))
  end

  # ExDoc takes `{...}` outside of code for attributes, and shows nothing of it.
  for page <- @pages do
    @page page
    test "braces_of_#{page}_are_in_code" do
      text = @page |> File.read!() |> String.replace(~r/^```.*?^```|`[^`]*`/ms, "")
      assert [] == Regex.scan(~r/^.*\{.*$/m, text)
    end

    test "functions_that_#{page}_names_exist" do
      for [_, module, name, arity] <-
            Regex.scan(~r/`((?:[A-Z]\w*\.)+)([a-z_]+!?)\/(\d)`/, File.read!(@page)) do
        parts = module |> String.trim_trailing(".") |> String.split(".")
        # The netlink guide has aliases.
        modules = for prefix <- [[], [Nlns.Netlink]], do: Module.concat(prefix ++ parts)
        {name, arity} = {String.to_atom(name), String.to_integer(arity)}

        assert Enum.any?(modules, fn module ->
                 Code.ensure_loaded?(module) and function_exported?(module, name, arity)
               end),
               "#{module}#{name}/#{arity}"
      end
    end
  end

  test "tests_that_the_faults_guide_names_exist" do
    named =
      for "|" <> _ = row <- String.split(File.read!("guides/faults.md"), "\n"),
          cell = row |> String.split("|") |> Enum.at(-2),
          [_, file, names] <- Regex.scan(~r/`(\w+\.(?:rs|exs))`: ([^;]+)/, cell),
          name <- String.split(names, ","),
          do: {file, String.trim(name)}

    assert length(named) > 20

    for {file, name} <- named do
      {directory, text} =
        if file =~ ~r/\.rs$/,
          do: {"native/nlns_core/tests", "fn #{name}("},
          else: {"test/nlns", name}

      assert {file, name, File.read!(Path.join(directory, file)) =~ text} == {file, name, true}
    end
  end

  # Those of links and references outside of code.
  defp targets(page) do
    text = page |> File.read!() |> String.replace(~r/^```.*?^```/ms, "")

    for [_ | found] <- Regex.scan(~r/\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)/m, text),
        do: found |> List.last() |> String.replace(~r/(?<=.)#.*/, "")
  end

  # What a link into the repository leads to, or nil.
  defp path(target) do
    case Regex.run(
           ~r{^https://(?:github|raw\.githubusercontent)\.com/nlns/nlns/(?:(?:blob|tree)/)?main/(.+)},
           target
         ) do
      [_, path] -> path
      nil -> nil
    end
  end

  # Whether one of its specs has an error.
  defp fails?(clauses), do: inspect(clauses, limit: :infinity) =~ ":error}"
end
