defmodule Nlns.Netlink.Value do
  @moduledoc false
  # What attributes hold besides attributes: bytes, text, and integers in either byte order.

  import Bitwise

  alias Nlns.Netlink.Attribute

  @native for sign <- [:u, :s], bits <- [8, 16, 32, 64], do: {:"#{sign}#{bits}", sign, bits}
  @big for bits <- [16, 32, 64], do: {:"be#{bits}", :u, bits}
  @formats [
    :binary,
    :string,
    :flag,
    :uint,
    :sint | for({name, _, _} <- @native ++ @big, do: name)
  ]

  @doc """
  Reads bytes by a format, native integers as big ones if the attribute says so.

      iex> Nlns.Netlink.Value.read(<<1, 2>>, :u16, true)
      {:ok, 0x0102}

      iex> Nlns.Netlink.Value.read(<<1, 2, 3>>, :u16, false)
      :error
  """
  @spec read(binary(), Attribute.integer_format() | :binary | :string | :flag, boolean()) ::
          {:ok, term()} | :error
  def read(bytes, :binary, _big?), do: {:ok, bytes}
  def read(_bytes, :flag, _big?), do: {:ok, true}

  def read(bytes, :string, _big?) do
    case :binary.match(bytes, <<0>>) do
      {length, 1} -> {:ok, binary_part(bytes, 0, length)}
      :nomatch -> {:ok, bytes}
    end
  end

  for {format, sign, bits} <- @native do
    sign = if sign == :s, do: quote(do: signed), else: quote(do: unsigned)

    def read(<<n::unquote(sign)-native-size(unquote(bits))>>, unquote(format), false),
      do: {:ok, n}

    def read(<<n::unquote(sign)-big-size(unquote(bits))>>, unquote(format), true), do: {:ok, n}
  end

  for {format, :u, bits} <- @big do
    def read(<<n::big-size(unquote(bits))>>, unquote(format), _big?), do: {:ok, n}
  end

  for {format, sign} <- [uint: :u, sint: :s], bits <- [8, 16, 32, 64] do
    def read(<<_::unquote(bits)>> = bytes, unquote(format), big?),
      do: read(bytes, unquote(:"#{sign}#{bits}"), big?)
  end

  def read(_bytes, format, _big?) when format in @formats, do: :error
  def read(_bytes, format, _big?), do: raise(ArgumentError, "unknown format: #{inspect(format)}")

  @doc """
  Writes a value that says its format.

      iex> Nlns.Netlink.Value.write({:be16, 443}, false)
      <<1, 187>>

      iex> Nlns.Netlink.Value.write({:u8, 256}, false)
      ** (ArgumentError) expected the value of a netlink attribute, got: {:u8, 256}
  """
  @spec write(
          {Attribute.integer_format(), integer()} | {:string, binary()} | binary() | true,
          boolean()
        ) ::
          binary()
  def write(bytes, false) when is_binary(bytes), do: bytes
  def write(true, false), do: <<>>

  def write({:string, text} = value, false) when is_binary(text) do
    if :binary.match(text, <<0>>) == :nomatch, do: text <> <<0>>, else: refuse(value)
  end

  for {format, sign, bits} <- @native do
    range =
      if sign == :u,
        do: Macro.escape(0..((1 <<< bits) - 1)),
        else: Macro.escape(-(1 <<< (bits - 1))..((1 <<< (bits - 1)) - 1))

    def write({unquote(format), n}, false) when n in unquote(range),
      do: <<n::native-size(unquote(bits))>>

    def write({unquote(format), n}, true) when n in unquote(range),
      do: <<n::big-size(unquote(bits))>>
  end

  for {format, :u, bits} <- @big do
    def write({unquote(format), n}, _big?) when n in 0..unquote((1 <<< bits) - 1),
      do: <<n::big-size(unquote(bits))>>
  end

  # As nla_put_uint() and nla_put_sint(): the small size if that is enough.
  def write({:uint, n}, big?) when n in 0..0xFFFFFFFF, do: write({:u32, n}, big?)
  def write({:uint, n}, big?), do: write({:u64, n}, big?)
  def write({:sint, n}, big?) when n in -0x80000000..0x7FFFFFFF, do: write({:s32, n}, big?)
  def write({:sint, n}, big?), do: write({:s64, n}, big?)
  def write(value, _big?), do: refuse(value)

  @spec refuse(term()) :: no_return()
  defp refuse(value) do
    raise ArgumentError, "expected the value of a netlink attribute, got: #{inspect(value)}"
  end
end
