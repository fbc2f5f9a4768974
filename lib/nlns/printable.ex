defmodule Nlns.Printable do
  @moduledoc false
  # Escapes names that others chose, so that they do nothing to a terminal and fit into any label.

  # Characters that `String.printable?/1` lets through and a terminal acts upon.
  @acting [?\a, ?\b, ?\t, ?\n, ?\v, ?\f, ?\r, ?\e, ?\d]
  # Characters that turn the direction of writing, so that a name looks like another.
  @turning [0x061C, 0x200E, 0x200F] ++
             Enum.to_list(0x202A..0x202E) ++ Enum.to_list(0x2066..0x2069)
  @unshown @acting ++ @turning

  @doc ~S"""
  The text with every other byte as `\xHH`, and a backslash doubled, so that different texts stay different.

      iex> Nlns.Printable.escape("/run/netns/ä b")
      "/run/netns/ä b"

      iex> Nlns.Printable.escape(<<"x\e[2J", 0xFF>>)
      "x\\x1b[2J\\xff"

      iex> Nlns.Printable.escape("\\xff")
      "\\\\xff"
  """
  @spec escape(binary()) :: String.t()
  def escape(text), do: text |> characters() |> IO.iodata_to_binary()

  defp characters(<<?\\, rest::binary>>), do: ["\\\\" | characters(rest)]

  defp characters(<<character::utf8, rest::binary>>) do
    text = <<character::utf8>>
    shown = if String.printable?(text) and character not in @unshown, do: text
    [shown || hex(text) | characters(rest)]
  end

  defp characters(<<byte, rest::binary>>), do: [hex(<<byte>>) | characters(rest)]
  defp characters(<<>>), do: []

  defp hex(bytes), do: for(<<byte <- bytes>>, do: ["\\x", Base.encode16(<<byte>>, case: :lower)])
end
