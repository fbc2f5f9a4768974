defmodule NlnsNative.Elf do
  @moduledoc false
  # Whether a library is one for a target, by its ELF header and the C library that it asks for. cargo and
  # the linker find nothing wrong with a library for another machine than the one that is meant.

  # The e_machine of elf.h, by how a target of Rust's begins.
  @machines %{
    "aarch64" => 183,
    "arm" => 40,
    "armv5te" => 40,
    "armv7" => 40,
    "i586" => 3,
    "i686" => 3,
    "loongarch64" => 258,
    "powerpc64le" => 21,
    "riscv64" => 243,
    "riscv64gc" => 243,
    "s390x" => 22,
    "x86_64" => 62
  }

  @doc "The machine of a target; `nil` for one that is not in the table."
  @spec machine(String.t()) :: pos_integer() | nil
  def machine(target), do: @machines[target |> String.split("-") |> hd()]

  @doc "Returns `:ok`, or why the library is not one for the target, as the end of a sentence."
  @spec check(binary(), String.t()) :: :ok | {:error, String.t()}
  def check(
        <<0x7F, "ELF", _class, endian, _::80, _type::16, machine::binary-size(2), _::binary>> =
          library,
        target
      ) do
    machine = :binary.decode_unsigned(machine, if(endian == 1, do: :little, else: :big))
    wanted = machine(target)

    cond do
      wanted && machine != wanted -> {:error, "is for #{name(machine)}"}
      glibc?(library) and target =~ "-musl" -> {:error, "is linked with glibc"}
      not glibc?(library) and target =~ "-linux-gnu" -> {:error, "is not linked with glibc"}
      true -> :ok
    end
  end

  def check(_library, _target), do: {:error, "is no ELF library"}

  # As it stands in the table of strings; musl's is called libc.so or libc.musl-x86_64.so.1.
  defp glibc?(library), do: :binary.match(library, <<0, "libc.so.6", 0>>) != :nomatch

  defp name(machine) do
    names = for {name, ^machine} <- @machines, do: name
    Enum.min(names, fn -> "machine #{machine}" end)
  end
end
