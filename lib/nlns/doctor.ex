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
  @moduledoc since: "0.1.0"

  alias Nlns.Doctor.{Check, Checks, Facts}

  @doc "Checks everything here and prints it; `:error` if something is missing."
  @doc since: "0.1.0"
  @spec report(IO.device()) :: :ok | :error
  def report(device \\ :stdio) do
    checks = Checks.all(Facts.read())
    IO.write(device, format(checks))
    if missing(checks) == 0, do: :ok, else: :error
  end

  @doc false
  @spec format([Check.t()]) :: iodata()
  def format(checks) do
    width = checks |> Enum.map(&String.length(&1.name)) |> Enum.max()

    verdict =
      case missing(checks) do
        0 -> "nlns can be used here."
        n -> "nlns cannot be used here: #{n} of the requirements missing."
      end

    [Enum.map(checks, &line(&1, width)), "\n", verdict, "\n"]
  end

  # A hint is not wrapped, so that a command in it can be copied.
  defp line(check, width) do
    status = String.pad_trailing(to_string(check.status), 8)
    hint = if check.hint, do: ["          ", check.hint, "\n"], else: []
    [status, "  ", String.pad_trailing(check.name, width), "  ", check.found, "\n", hint]
  end

  defp missing(checks), do: Enum.count(checks, &(&1.status == :missing))
end
