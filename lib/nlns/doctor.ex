defmodule Nlns.Doctor do
  @moduledoc """
  Says whether this machine and this user can use nlns, and what to do about what is missing.

  With Mix it is `mix nlns.doctor`. In a release, which has no Mix:

      bin/my_app eval "Nlns.Doctor.report() == :ok || System.halt(1)"

  Each requirement is one line, and each line that is not `ok` has a hint below it:

    * `ok`
    * `optional`: nlns works; the hint says what is lost
    * `missing`: nlns does not work before this is mended
  """

  alias Nlns.Doctor.{Facts, Library, Limits, Machine, Opens, Privileges}

  @typedoc "One requirement: what was found, and what to do about it unless it is `:ok`."
  @type check :: %{
          name: String.t(),
          status: :ok | :optional | :missing,
          found: String.t(),
          hint: String.t() | nil
        }

  # Of a hint; with its indentation it fits a terminal of the usual width.
  @columns 86

  @doc "Checks everything here and prints it; `:error` if something is missing."
  @spec report(IO.device()) :: :ok | :error
  def report(device \\ :stdio) do
    checks = checks(Facts.read())
    IO.write(device, format(checks, IO.ANSI.enabled?()))
    if usable?(checks), do: :ok, else: :error
  end

  @doc false
  @spec usable?([check()]) :: boolean()
  def usable?(checks), do: not Enum.any?(checks, &(&1.status == :missing))

  @doc false
  @spec checks(map()) :: [check()]
  def checks(facts) do
    # Both are read under /proc.
    of_process = if facts.proc_mounted?, do: [Privileges, Limits], else: []
    Enum.flat_map([Machine, Library] ++ of_process ++ [Opens], & &1.checks(facts))
  end

  @doc false
  @spec check(String.t(), :ok | :optional | :missing, String.t(), String.t() | nil) :: check()
  def check(name, status, found, hint \\ nil) do
    %{name: name, status: status, found: found, hint: if(status == :ok, do: nil, else: hint)}
  end

  @doc false
  @spec format([check()], boolean()) :: iodata()
  def format(checks, ansi?) do
    width = checks |> Enum.map(&String.length(&1.name)) |> Enum.max()
    lines = Enum.map(checks, &line(&1, width, ansi?))
    [lines, "\n", verdict(checks), "\n"]
  end

  defp line(check, width, ansi?) do
    status = check.status |> to_string() |> String.pad_trailing(8)

    [
      IO.ANSI.format([colour(check.status), status], ansi?),
      ["  ", String.pad_trailing(check.name, width), "  ", check.found, "\n"],
      for(text <- wrap(check.hint || ""), do: [String.duplicate(" ", 10), text, "\n"])
    ]
  end

  defp wrap(text) do
    # A command is not broken, so that it can be copied.
    Regex.scan(~r/`[^`]*`\S*|\S+/, text)
    |> List.flatten()
    |> Enum.chunk_while("", &add_word/2, &{:cont, &1, ""})
    |> Enum.reject(&(&1 == ""))
  end

  defp add_word(word, ""), do: {:cont, word}

  defp add_word(word, line) do
    if String.length(line) + String.length(word) < @columns,
      do: {:cont, line <> " " <> word},
      else: {:cont, line, word}
  end

  defp colour(:ok), do: :green
  defp colour(:optional), do: :yellow
  defp colour(:missing), do: :red

  defp verdict(checks) do
    case Enum.count(checks, &(&1.status == :missing)) do
      0 -> "nlns can be used here."
      1 -> "nlns cannot be used here: 1 requirement is missing."
      n -> "nlns cannot be used here: #{n} requirements are missing."
    end
  end
end
