defmodule Nlns.PrintableTest do
  use ExUnit.Case, async: true
  doctest Nlns.Printable
  doctest Nlns.Telemetry, only: [tag_values: 1]

  import Nlns.Printable

  test "hostile names do nothing to a terminal" do
    assert escape("x\e[2J\n\r\t\x00\x7f") == "x\\x1b[2J\\x0a\\x0d\\x09\\x00\\x7f"
    # C1 controls, which some terminals obey, and what is no UTF-8.
    assert escape("\u009b" <> <<0xFF>>) == "\\xc2\\x9b\\xff"
    # Not one that turns the writing direction, either.
    assert escape("a\u202eb") == "a\\xe2\\x80\\xaeb"
  end

  test "different names stay different, and each is one line of UTF-8" do
    names =
      for a <- [<<0xFF>>, "\\xff", "\\\\xff", <<0xFE>>, "\uFFFD", "\n", "a"],
          b <- ["", "b"],
          do: a <> b

    escaped = Enum.map(names, &escape/1)
    assert length(Enum.uniq(escaped)) == length(names)
    for text <- escaped, do: assert(String.printable?(text) and not (text =~ ~r/\R/))
  end
end
