defmodule Nlns.ErrnoTest do
  use ExUnit.Case, async: true
  doctest Nlns.Error
  doctest Nlns.Errno

  alias Nlns.Errno

  test "errnos have the names that the system's own files know" do
    header =
      Enum.map_join(["errno-base.h", "errno.h"], &File.read!("/usr/include/asm-generic/" <> &1))

    for [_, name, number] <- Regex.scan(~r/^#define\s+(E\w+)\s+(\d+)/m, header) do
      atom = name |> String.downcase() |> String.to_atom()
      assert {name, Errno.atom(String.to_integer(number))} == {name, atom}
      assert Errno.number(atom) == String.to_integer(number)
    end
  end
end
