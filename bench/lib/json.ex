defmodule Bench.JSON do
  @moduledoc "Just enough of an encoder (RFC 8259) for results: OTP has none before 27."

  def encode(value), do: [encode(value, "\n"), "\n"]

  # `line` is a line break with the indentation of what is around.
  defp encode(nil, _line), do: "null"
  defp encode(value, _line) when is_boolean(value), do: Atom.to_string(value)
  defp encode(value, line) when is_atom(value), do: encode(Atom.to_string(value), line)
  defp encode(value, _line) when is_integer(value), do: Integer.to_string(value)

  defp encode(value, _line) when is_float(value),
    do: :erlang.float_to_binary(value, [:compact, decimals: 4])

  defp encode(value, _line) when is_binary(value), do: [?", escape(value), ?"]
  defp encode(value, line) when is_tuple(value), do: value |> Tuple.to_list() |> encode(line)

  defp encode(map, line) when is_map(map) do
    members =
      for {key, value} <- Enum.sort(map) do
        [line, "  ", encode(to_string(key), line), ": ", encode(value, line <> "  ")]
      end

    [?{, Enum.intersperse(members, ","), line, ?}]
  end

  # Numbers share a line.
  defp encode(list, line) when is_list(list) do
    elements = for value <- list, do: encode(value, line)
    [?[, Enum.intersperse(elements, ", "), ?]]
  end

  defp escape(text) do
    for <<char::utf8 <- text>>, into: "" do
      case char do
        ?" -> "\\\""
        ?\\ -> "\\\\"
        char when char < 0x20 -> "\\u" <> String.pad_leading(Integer.to_string(char, 16), 4, "0")
        char -> <<char::utf8>>
      end
    end
  end
end
