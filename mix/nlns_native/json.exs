defmodule NlnsNative.Json do
  @moduledoc false
  # Decodes what cargo says (RFC 8259): OTP has no decoder before 27. Objects become maps, null is nil.

  @spec decode(binary()) :: {:ok, term()} | :error
  def decode(text) do
    {value, rest} = text |> skip() |> value()
    if skip(rest) == "", do: {:ok, value}, else: :error
  catch
    :invalid -> :error
  end

  defp value("{" <> rest), do: rest |> skip() |> members(%{})
  defp value("[" <> rest), do: rest |> skip() |> elements([])
  defp value("\"" <> rest), do: string(rest, [])
  defp value("true" <> rest), do: {true, rest}
  defp value("false" <> rest), do: {false, rest}
  defp value("null" <> rest), do: {nil, rest}
  defp value(text), do: number(text)

  # Nothing but an empty object ends where a member may begin; so for elements.
  defp members("}" <> rest, map) when map == %{}, do: {map, rest}

  defp members("\"" <> rest, map) do
    {key, rest} = string(rest, [])

    case skip(rest) do
      ":" <> rest ->
        {value, rest} = rest |> skip() |> value()
        next(skip(rest), "}", Map.put(map, key, value), &members/2)

      _other ->
        throw(:invalid)
    end
  end

  defp members(_text, _map), do: throw(:invalid)

  defp elements("]" <> rest, []), do: {[], rest}

  defp elements(text, list) do
    {value, rest} = value(text)
    next(skip(rest), "]", [value | list], &elements/2)
  end

  defp next("," <> rest, _ending, sofar, more), do: rest |> skip() |> more.(sofar)
  defp next("}" <> rest, "}", map, _more), do: {map, rest}
  defp next("]" <> rest, "]", list, _more), do: {Enum.reverse(list), rest}
  defp next(_text, _ending, _sofar, _more), do: throw(:invalid)

  # The bytes of other characters are taken as they are.
  defp string("\"" <> rest, sofar), do: {IO.iodata_to_binary(sofar), rest}
  defp string("\\u" <> rest, sofar), do: unicode(rest, sofar)

  for {letter, char} <- [
        {?", ?"},
        {?\\, ?\\},
        {?/, ?/},
        {?b, ?\b},
        {?f, ?\f},
        {?n, ?\n},
        {?r, ?\r},
        {?t, ?\t}
      ] do
    defp string(<<?\\, unquote(letter), rest::binary>>, sofar),
      do: string(rest, [sofar, unquote(char)])
  end

  defp string(<<byte, rest::binary>>, sofar) when byte >= 0x20 and byte != ?\\,
    do: string(rest, [sofar, byte])

  defp string(_text, _sofar), do: throw(:invalid)

  # Characters beyond 16 bits come as two surrogates; one alone is no character.
  defp unicode(text, sofar) do
    case hex(text) do
      {high, "\\u" <> rest} when high in 0xD800..0xDBFF ->
        case hex(rest) do
          {low, rest} when low in 0xDC00..0xDFFF ->
            char = 0x10000 + (high - 0xD800) * 0x400 + (low - 0xDC00)
            string(rest, [sofar, <<char::utf8>>])

          _other ->
            throw(:invalid)
        end

      {char, rest} when char not in 0xD800..0xDFFF ->
        string(rest, [sofar, <<char::utf8>>])

      _other ->
        throw(:invalid)
    end
  end

  defp hex(<<digits::binary-size(4), rest::binary>>) do
    case Base.decode16(digits, case: :mixed) do
      {:ok, <<code::16>>} -> {code, rest}
      :error -> throw(:invalid)
    end
  end

  defp hex(_text), do: throw(:invalid)

  defp number(text) do
    case Regex.run(~r/^-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/, text) do
      [digits] -> {String.to_integer(digits), after_prefix(text, digits)}
      [digits | _fraction] -> {digits |> Float.parse() |> elem(0), after_prefix(text, digits)}
      nil -> throw(:invalid)
    end
  end

  defp after_prefix(text, prefix),
    do: binary_part(text, byte_size(prefix), byte_size(text) - byte_size(prefix))

  defp skip(<<space, rest::binary>>) when space in [?\s, ?\t, ?\n, ?\r], do: skip(rest)
  defp skip(text), do: text
end
