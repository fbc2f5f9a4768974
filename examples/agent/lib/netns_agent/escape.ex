defmodule NetnsAgent.Escape do
  @moduledoc """
  Text that others chose, made harmless. Names of namespaces, interfaces and processes are any bytes.
  """

  @doc """
  Valid UTF-8: what is not becomes U+FFFD.

      iex> NetnsAgent.Escape.utf8(<<"a", 0xFF, "b">>)
      "a\uFFFDb"
  """
  @spec utf8(binary()) :: String.t()
  def utf8(text) do
    if String.valid?(text), do: text, else: text |> replace_invalid([]) |> IO.iodata_to_binary()
  end

  @doc """
  For HTML, between tags and in quoted attributes.

      iex> NetnsAgent.Escape.html(~s(<b class="x">&'))
      "&lt;b class=&quot;x&quot;&gt;&amp;&#39;"
  """
  @spec html(binary()) :: String.t()
  def html(text) do
    replace(text, ["<", ">", "&", "\"", "'"], fn
      "<" -> "&lt;"
      ">" -> "&gt;"
      "&" -> "&amp;"
      "\"" -> "&quot;"
      "'" -> "&#39;"
    end)
  end

  @doc """
  For the quoted value of a Prometheus label.

      iex> NetnsAgent.Escape.label(~S(a"b\\c))
      ~S(a\\"b\\\\c)
  """
  @spec label(binary()) :: String.t()
  def label(text) do
    replace(text, ["\\", "\"", "\n"], fn
      "\n" -> "\\n"
      char -> "\\" <> char
    end)
  end

  @doc """
  For a JSON string, its quotes included.

      iex> NetnsAgent.Escape.json("a\\tb\\"")
      ~S("a\\u0009b\\"")
  """
  @spec json(binary()) :: String.t()
  def json(text) do
    controls = for n <- 0..31, do: <<n>>

    inner =
      replace(text, ["\\", "\"" | controls], fn
        <<n>> when n < 32 -> "\\u" <> String.pad_leading(Integer.to_string(n, 16), 4, "0")
        char -> "\\" <> char
      end)

    "\"" <> inner <> "\""
  end

  defp replace(text, patterns, fun), do: text |> utf8() |> String.replace(patterns, fun)

  defp replace_invalid("", done), do: Enum.reverse(done)

  defp replace_invalid(<<c::utf8, rest::binary>>, done),
    do: replace_invalid(rest, [<<c::utf8>> | done])

  defp replace_invalid(<<_, rest::binary>>, done), do: replace_invalid(rest, ["\uFFFD" | done])
end
