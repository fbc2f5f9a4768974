defmodule Nlns.Guide do
  @moduledoc "The modules that a page of the documentation defines, for tests that define them too."

  @doc "Compiles them as they stand there; returns their names."
  @spec compile(Path.t()) :: [module()]
  def compile(page) do
    for [_, code] <- Regex.scan(~r/^```elixir\n(defmodule.*?^end\n)/ms, File.read!(page)),
        {module, _beam} <- Code.compile_string(code, page),
        do: module
  end

  @doc "Removes them, if they are there, so that another test can define them."
  @spec remove(Path.t()) :: :ok
  def remove(page) do
    for [_, name] <- Regex.scan(~r/^defmodule (\w+) do$/m, File.read!(page)) do
      module = Module.concat([name])
      :code.delete(module)
      :code.purge(module)
    end

    :ok
  end
end
