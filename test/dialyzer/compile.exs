# Compiles code of users for scripts/dialyze: the Elixir blocks of README and guides, and user.ex.
#
#     elixir -pa _build/dev/lib/nlns/ebin test/dialyzer/compile.exs DIRECTORY

[directory] = System.argv()
Code.put_compiler_option(:ignore_module_conflict, true)
File.rm_rf!(directory)

# Two pages may have a module of the same name, so each page has a directory.
write = fn modules, name ->
  for {module, beam} <- modules do
    file = Path.join([directory, name, "#{module}.beam"])
    File.mkdir_p!(Path.dirname(file))
    File.write!(file, beam)
  end
end

# What stands outside of a module is a function's body.
wrap = fn block, name ->
  lines =
    case Code.string_to_quoted!(block) do
      {:__block__, _, lines} -> lines
      line -> [line]
    end

  {modules, body} = Enum.split_with(lines, &match?({:defmodule, _, _}, &1))
  module = Module.concat(Nlns.Dialyzer, name)

  quote do
    unquote_splicing(modules)

    defmodule unquote(module) do
      def run, do: unquote({:__block__, [], body ++ [:ok]})
    end
  end
end

for page <- ["README.md" | Path.wildcard("guides/*.md")] do
  name = page |> Path.basename(".md") |> Macro.camelize()
  blocks = Regex.scan(~r/^```elixir\n(.*?)^```/ms, File.read!(page), capture: :all_but_first)

  for {[block], n} <- Enum.with_index(blocks), not (block =~ ~r/^(import Config|\{:nlns, )/) do
    block |> wrap.("#{name}#{n}") |> Code.compile_quoted(page) |> write.("#{name}#{n}")
  end
end

"test/dialyzer/user.ex" |> Code.compile_file() |> write.("User")
