defmodule NlnsNative.ElfTest do
  use ExUnit.Case, async: true

  alias NlnsNative.{Elf, Target}

  test "the library that was built is this machine's" do
    library = File.read!(Application.app_dir(:nlns, "priv/native/libnlns.so"))
    ours = Target.wanted!(%{}).triple
    assert Elf.check(library, ours) == :ok

    other =
      if ours =~ "aarch64", do: "x86_64-unknown-linux-gnu", else: "aarch64-unknown-linux-gnu"

    assert {:error, "is for " <> machine} = Elf.check(library, other)
    assert ours =~ machine
  end

  test "another C library is seen" do
    assert Elf.check(elf("libc.so.6"), "x86_64-unknown-linux-gnu") == :ok
    assert Elf.check(elf("libc.so"), "x86_64-unknown-linux-musl") == :ok

    assert Elf.check(elf("libc.so.6"), "x86_64-unknown-linux-musl") ==
             {:error, "is linked with glibc"}

    assert Elf.check(elf("libc.so"), "x86_64-unknown-linux-gnu") ==
             {:error, "is not linked with glibc"}
  end

  test "a machine in either byte order, or an unknown one" do
    assert {:error, "is for s390x"} =
             Elf.check(elf("libc.so.6", 2, <<22::16>>), "x86_64-unknown-linux-gnu")

    assert {:error, "is for machine 8"} =
             Elf.check(elf("libc.so.6", 1, <<8, 0>>), "x86_64-unknown-linux-gnu")

    assert Elf.check(elf("libc.so.6", 1, <<8, 0>>), "mips-unknown-linux-gnu") == :ok
  end

  test "other files are no libraries" do
    assert Elf.check("", "x86_64-unknown-linux-gnu") == {:error, "is no ELF library"}
    assert Elf.check("MZ and so on", "x86_64-unknown-linux-gnu") == {:error, "is no ELF library"}
  end

  defp elf(libc, endian \\ 1, machine \\ <<62, 0>>) do
    <<0x7F, "ELF", 2, endian, 0::80, 3, 0, machine::binary, 0::256, libc::binary, 0>>
  end
end
