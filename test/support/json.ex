defmodule Nlns.Json do
  @moduledoc "Decodes what programs print as JSON (RFC 8259). OTP can do so from 27 on."

  @doc "The value of a text: maps with strings as keys, lists, strings, numbers, booleans, `nil`."
  @spec decode!(String.t()) :: term()
  def decode!(text) do
    {value, rest} = text |> skip() |> value()
    "" = skip(rest)
    value
  end

  defp value("{" <> rest), do: members(skip(rest), [])
  defp value("[" <> rest), do: elements(skip(rest), [])
  defp value("\"" <> rest), do: string(rest, [])
  defp value("true" <> rest), do: {true, rest}
  defp value("false" <> rest), do: {false, rest}
  defp value("null" <> rest), do: {nil, rest}

  defp value(text) do
    [number] = Regex.run(~r/^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/, text)
    {_, rest} = String.split_at(text, String.length(number))
    if number =~ ~r/^-?\d+$/, do: {String.to_integer(number), rest}, else: Float.parse(text)
  end

  defp members("}" <> rest, members), do: {Map.new(members), rest}
  defp members("," <> rest, members), do: members(skip(rest), members)

  defp members("\"" <> rest, members) do
    {name, rest} = string(rest, [])
    ":" <> rest = skip(rest)
    {value, rest} = rest |> skip() |> value()
    members(skip(rest), [{name, value} | members])
  end

  defp elements("]" <> rest, elements), do: {Enum.reverse(elements), rest}
  defp elements("," <> rest, elements), do: elements(skip(rest), elements)

  defp elements(text, elements) do
    {value, rest} = value(text)
    elements(skip(rest), [value | elements])
  end

  defp string("\"" <> rest, parts), do: {parts |> Enum.reverse() |> IO.iodata_to_binary(), rest}

  defp string(<<"\\u", code::binary-4, rest::binary>>, parts),
    do: string(rest, [<<String.to_integer(code, 16)::utf8>> | parts])

  for {letter, char} <- [
        {?b, 8},
        {?f, 12},
        {?n, 10},
        {?r, 13},
        {?t, 9},
        {?", ?"},
        {?\\, ?\\},
        {?/, ?/}
      ] do
    defp string(<<?\\, unquote(letter), rest::binary>>, parts),
      do: string(rest, [unquote(char) | parts])
  end

  defp string(<<byte, rest::binary>>, parts), do: string(rest, [byte | parts])

  defp skip(<<space, rest::binary>>) when space in ~c" \t\n\r", do: skip(rest)
  defp skip(text), do: text
end
