defmodule NetnsAgent.Text do
  @moduledoc """
  Text that others chose, made harmless. Names of namespaces, interfaces and processes are any bytes:
  `readable/1` makes text of them where they enter the agent, the others quote text where it leaves.
  """

  # Shown as nothing, or turning the text around them: they would make two names look like one.
  defguardp invisible(c)
            when c < 0x20 or c in 0x7F..0xA0 or c == 0xAD or c in 0x200B..0x200F or
                   c in 0x2028..0x202E or c in 0x2060..0x206F or c == 0xFEFF

  @doc """
  Valid UTF-8 that leads back to the bytes, so that two names are never one text: bytes that are not
  UTF-8 or not visible become `\\\\xHH`, and a backslash is doubled. It keeps nothing of what they were part of.

      iex> NetnsAgent.Text.readable(<<"ü\\\\", 0xFF, "\\n">>)
      ~S(ü\\\\\\xFF\\x0A)
  """
  @spec readable(binary()) :: String.t()
  def readable(bytes), do: bytes |> pieces() |> IO.iodata_to_binary()

  defp pieces(""), do: []
  defp pieces("\\" <> rest), do: ["\\\\" | pieces(rest)]
  defp pieces(<<c::utf8, rest::binary>>) when not invisible(c), do: [<<c::utf8>> | pieces(rest)]
  defp pieces(<<b::binary-1, rest::binary>>), do: ["\\x" <> Base.encode16(b) | pieces(rest)]

  @doc """
  Readable text in quotes, for JSON and for the labels of Prometheus.

      iex> NetnsAgent.Text.quoted(~S(a"b\\c))
      ~S("a\\"b\\\\c")
  """
  @spec quoted(String.t()) :: String.t()
  def quoted(text), do: "\"" <> String.replace(text, ["\\", "\""], &("\\" <> &1)) <> "\""

  @doc """
  JSON, of which OTP before 27 has none: maps, lists, readable text, numbers, atoms.

      iex> IO.iodata_to_binary(NetnsAgent.Text.json(%{a: [1, nil, "x"], b: 0.5}))
      ~S({"a":[1,null,"x"],"b":0.5})
  """
  @spec json(term()) :: iodata()
  def json(nil), do: "null"
  def json(atom) when is_boolean(atom), do: to_string(atom)
  def json(number) when is_number(number), do: to_string(number)
  def json(list) when is_list(list), do: [?[, Enum.map_intersperse(list, ?,, &json/1), ?]]

  def json(map) when is_map(map) do
    pairs = for {key, value} <- Enum.sort(map), do: [json(key), ?:, json(value)]
    [?{, Enum.intersperse(pairs, ?,), ?}]
  end

  def json(text), do: quoted(to_string(text))
end
