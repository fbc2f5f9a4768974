defmodule Nlns.ChildVM do
  @moduledoc "A VM of its own for what would harm this one: capabilities dropped, limits lowered."

  @doc """
  Runs `code` in a new VM with nlns started, under `command` (a program and its arguments); what the
  code evaluates to, as `inspect/1` writes it.
  """
  @spec eval([String.t()], String.t()) :: String.t()
  def eval([program | arguments], code) do
    script = """
    Logger.configure(level: :warning)
    {:ok, _} = Application.ensure_all_started(:nlns)
    {value, _} = Code.eval_string(#{inspect(code)})
    IO.puts(inspect(value))
    """

    ebin = Application.app_dir(:nlns, "ebin")
    elixir = [System.find_executable("elixir"), "-pa", ebin, "-e", script]
    {output, status} = System.cmd(program, arguments ++ elixir, stderr_to_stdout: true)
    if status != 0, do: raise("#{program} #{Enum.join(arguments, " ")}: #{status}, #{output}")
    String.trim(output)
  end
end
