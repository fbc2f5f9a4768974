defmodule NetnsAgent.Page.Format do
  @moduledoc "Numbers as people read them."

  @doc """
  Bytes, in powers of 1,000 as network people count.

      iex> Enum.map([0, 999, 1_500, 2_000_000], &NetnsAgent.Page.Format.bytes/1)
      ["0 B", "999 B", "1.5 kB", "2.0 MB"]
  """
  @spec bytes(number()) :: String.t()
  def bytes(n), do: scaled(n, ~w(B kB MB GB TB PB EB), " ")

  @doc "Bytes per second; a dash if there is no rate."
  @spec rate(number() | nil) :: String.t()
  def rate(nil), do: "–"
  def rate(n), do: bytes(n) <> "/s"

  @doc """
  A plain number.

      iex> Enum.map([7, 0.25, 12_345.0], &NetnsAgent.Page.Format.number/1)
      ["7", "0.25", "12.3k"]
  """
  @spec number(number() | nil) :: String.t()
  def number(nil), do: "–"
  def number(n) when is_float(n) and n > 0 and n < 1, do: :erlang.float_to_binary(n, decimals: 2)
  def number(n), do: scaled(n, ["", "k", "M", "G", "T", "P", "E"], "")

  @doc """
  Microseconds.

      iex> Enum.map([250, 12_340, 2_500_000], &NetnsAgent.Page.Format.duration/1)
      ["0.25 ms", "12.3 ms", "2.5 s"]
  """
  @spec duration(non_neg_integer()) :: String.t()
  def duration(us) when us < 1_000, do: :erlang.float_to_binary(us / 1_000, decimals: 2) <> " ms"
  def duration(us) when us < 1_000_000, do: decimal(us / 1_000) <> " ms"
  def duration(us), do: decimal(us / 1_000_000) <> " s"

  @doc "Points of an SVG polyline, oldest first, in a box of the given size."
  @spec points([number()], pos_integer(), pos_integer()) :: String.t()
  def points(newest_first, width, height) do
    values = Enum.reverse(newest_first)
    top = Enum.max([1.0 | values])
    step = width / max(length(values) - 1, 1)

    values
    |> Enum.with_index()
    |> Enum.map_join(" ", fn {value, n} ->
      "#{Float.round(n * step, 1)},#{Float.round(height - value / top * (height - 2) - 1, 1)}"
    end)
  end

  defp scaled(n, [unit | _], space) when n < 999.5, do: "#{round(n)}#{space}#{unit}"
  defp scaled(n, [_ | units], space), do: scaled_decimal(n / 1_000, units, space)

  defp scaled_decimal(n, [unit | rest], space) when n < 999.95 or rest == [],
    do: decimal(n) <> space <> unit

  defp scaled_decimal(n, [_ | units], space), do: scaled_decimal(n / 1_000, units, space)

  defp decimal(n), do: :erlang.float_to_binary(n * 1.0, decimals: 1)
end
