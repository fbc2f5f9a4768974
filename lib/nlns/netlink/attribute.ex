defmodule Nlns.Netlink.Attribute do
  @moduledoc """
  Netlink attributes: `struct nlattr`, in rtnetlink(7) `struct rtattr`. A payload carries any number of them.

      iex> alias Nlns.Netlink.Attribute
      iex> # IFLA_IFNAME, IFLA_MTU, and IFLA_LINKINFO with IFLA_INFO_KIND in it
      iex> bytes = Attribute.encode([{3, {:string, "eth0"}}, {4, {:u32, 1500}}, {18, [{1, {:string, "veth"}}]}])
      iex> Attribute.get!(bytes, 3, :string)
      "eth0"
      iex> Attribute.get!(bytes, [18, 1], :string)
      "veth"
      iex> Attribute.to_map!(bytes, name: {3, :string}, mtu: {4, :u32}, address: {1, :binary})
      %{name: "eth0", mtu: 1500}

  A type is the kernel's number. The bytes do not tell their format, so the caller does:

  | format | what is read | how it is written |
  |---|---|---|
  | `:binary` | the bytes | `bytes` |
  | `:string` | the bytes before the first zero, or all of them | `{:string, text}`, which adds the zero |
  | `:u8`, `:u16`, `:u32`, `:u64` | an integer in the machine's byte order | `{:u32, 1500}` |
  | `:s8`, `:s16`, `:s32`, `:s64` | the same with a sign | `{:s32, -1}` |
  | `:be16`, `:be32`, `:be64` | an integer in network byte order | `{:be16, 443}` |
  | `:uint`, `:sint` | an integer of 8 to 64 bits | `{:uint, n}`, in 32 bits if `n` fits, else in 64 |
  | `:flag` | `true`, because the attribute is there | `true` |
  | `:nested` | attributes as `decode/1` returns them | a list, which sets `NLA_F_NESTED` |
  | `[name: {type, format}]` | attributes as `to_map/2` returns them | |
  | `{:list, format}` | the values of nested attributes, whatever their types | |
  | `{:each, format}` | the values of all attributes of this type beside each other | |

  `{:net, {:u32, n}}` writes an integer in network byte order and sets `NLA_F_NET_BYTEORDER`. Where the kernel
  sets it, the formats of integers read network byte order.

  The readers look into the encoded attributes without a copy: a value is a part of the binary, and keeps
  all of it in memory. Keep `:binary.copy/1` of a value that outlives the answer. Readers go only as deep as
  the caller asks. Their time and memory grow with the size of the binary, whatever is in it.
  """
  @moduledoc since: "0.1.0"

  import Bitwise

  alias Nlns.Netlink.{DecodeError, Scan, Value}

  @nested 0x8000
  @net 0x4000
  @mask 0x3FFF

  @type type :: 0..0x3FFF
  @type integer_format ::
          :u8
          | :u16
          | :u32
          | :u64
          | :s8
          | :s16
          | :s32
          | :s64
          | :uint
          | :sint
          | :be16
          | :be32
          | :be64
  @type format ::
          integer_format()
          | :binary
          | :string
          | :flag
          | :nested
          | {:list, format()}
          | formats()
  @type formats :: [{name :: atom(), {type(), format() | {:each, format()}}}]
  @type value ::
          binary()
          | true
          | {:string, binary()}
          | {integer_format(), integer()}
          | {:net, {integer_format(), integer()}}
          | [{type(), value()}]

  @doc """
  Encodes attributes, each padded to a multiple of four bytes.

  Raises `ArgumentError` for an integer that does not fit its format, for text with a zero byte in it, and
  for a value of more than 65,531 bytes. A nest that must go without `NLA_F_NESTED` is encoded first and
  given as bytes.

      iex> Nlns.Netlink.Attribute.encode([{1, "abc"}, {2, true}])
      <<7::native-16, 1::native-16, "abc", 0, 4::native-16, 2::native-16>>
  """
  @doc since: "0.1.0"
  @spec encode([{type(), value()}]) :: binary()
  def encode(attributes) when is_list(attributes) do
    attributes |> Enum.map(&encode_one/1) |> IO.iodata_to_binary()
  end

  @doc """
  Decodes attributes into `{type, bytes}`, in their order and without the flags of the types.

  The padding of the last attribute may be missing.

      iex> bytes = <<5::native-16, 1::native-16, 255, 0::24, 4::native-16, 0x8002::native-16>>
      iex> Nlns.Netlink.Attribute.decode(bytes)
      {:ok, [{1, <<255>>}, {2, ""}]}

      iex> Nlns.Netlink.Attribute.decode(<<4::native-16, 1::native-16, 3::native-16, 1::native-16>>)
      {:error, {:malformed, 4}}
  """
  @doc since: "0.1.0"
  @spec decode(binary()) :: {:ok, [{type(), binary()}]} | {:error, DecodeError.reason()}
  def decode(attributes), do: attempt(fn -> decode!(attributes) end)

  @doc "Decodes like `decode/1`, and returns the attributes or raises `Nlns.Netlink.DecodeError`."
  @doc since: "0.1.0"
  @spec decode!(binary()) :: [{type(), binary()}]
  def decode!(attributes) do
    for {type, bytes} <- Scan.all(attributes), do: {type &&& @mask, bytes}
  end

  @doc """
  Returns the value of the first attribute of a type, or `nil` if there is none.

  A list of types leads into nests. The search ends at the attribute; later ones may be malformed.

      iex> bytes = Nlns.Netlink.Attribute.encode([{53, {:string, "a"}}, {53, {:string, "b"}}])
      iex> Nlns.Netlink.Attribute.get(bytes, 53, :string)
      {:ok, "a"}
      iex> Nlns.Netlink.Attribute.get(bytes, 53, {:each, :string})
      {:ok, ["a", "b"]}
      iex> Nlns.Netlink.Attribute.get(bytes, 3, :string)
      {:ok, nil}
      iex> Nlns.Netlink.Attribute.get(bytes, 53, :u32)
      {:error, {:mismatch, 53, :u32}}
  """
  @doc since: "0.1.0"
  @spec get(binary(), type() | [type(), ...], format() | {:each, format()}) ::
          {:ok, term()} | {:error, DecodeError.reason()}
  def get(attributes, path, format \\ :binary),
    do: attempt(fn -> get!(attributes, path, format) end)

  @doc "Reads like `get/3`, and returns the value or `nil`, or raises `Nlns.Netlink.DecodeError`."
  @doc since: "0.1.0"
  @spec get!(binary(), type() | [type(), ...], format() | {:each, format()}) :: term()
  def get!(attributes, path, format \\ :binary)

  def get!(attributes, [type, next | path], format) do
    with {_type, bytes} <- Scan.first(attributes, type),
         do: get!(bytes, [next | path], format)
  end

  def get!(attributes, [type], format), do: get!(attributes, type, format)

  def get!(attributes, type, {:each, format}) do
    for {found, bytes} <- Scan.all(attributes),
        (found &&& @mask) == type,
        do: value(found, bytes, format)
  end

  def get!(attributes, type, format) do
    with {type, bytes} <- Scan.first(attributes, type),
         do: value(type, bytes, format)
  end

  @doc """
  Returns the values of several attributes by names that the caller chooses.

  The map has no key for an attribute that is absent. The first of several attributes of a type counts,
  unless the format is `{:each, format}`.

      iex> alias Nlns.Netlink.Attribute
      iex> bytes = Attribute.encode([{1, {:u16, 7}}, {2, [{1, {:string, "x"}}, {1, {:string, "y"}}]}])
      iex> Attribute.to_map(bytes, id: {1, :u16}, names: {2, {:list, :string}})
      {:ok, %{id: 7, names: ["x", "y"]}}
      iex> Attribute.to_map(bytes, nest: {2, first: {1, :string}}, other: {3, :u8})
      {:ok, %{nest: %{first: "x"}}}
  """
  @doc since: "0.1.0"
  @spec to_map(binary(), formats()) ::
          {:ok, %{optional(atom()) => term()}} | {:error, DecodeError.reason()}
  def to_map(attributes, formats), do: attempt(fn -> to_map!(attributes, formats) end)

  @doc "Reads like `to_map/2`, and returns the map or raises `Nlns.Netlink.DecodeError`."
  @doc since: "0.1.0"
  @spec to_map!(binary(), formats()) :: %{optional(atom()) => term()}
  def to_map!(attributes, formats) do
    wanted = for {name, {type, format}} <- formats, do: {type, name, format}
    found = Scan.last_to_first(attributes, Map.new(wanted, &{elem(&1, 0), true}))

    # From the last to the first, so that the first of a type is put last, and lists grow at their heads.
    Enum.reduce(found, %{}, &put(wanted, &1, &2))
  end

  defp put([{wanted, name, format} | rest], {type, bytes} = attribute, map)
       when (type &&& @mask) == wanted do
    map =
      case format do
        {:each, format} ->
          value = value(type, bytes, format)
          Map.update(map, name, [value], &[value | &1])

        format ->
          Map.put(map, name, value(type, bytes, format))
      end

    put(rest, attribute, map)
  end

  defp put([_ | rest], attribute, map), do: put(rest, attribute, map)
  defp put([], _attribute, map), do: map

  defp value(_type, bytes, :nested), do: decode!(bytes)
  defp value(_type, bytes, formats) when is_list(formats), do: to_map!(bytes, formats)

  defp value(_type, bytes, {:list, format}) do
    for {type, bytes} <- Scan.all(bytes), do: value(type, bytes, format)
  end

  defp value(type, bytes, format) do
    case Value.read(bytes, format, (type &&& @net) != 0) do
      {:ok, value} -> value
      :error -> raise DecodeError, reason: {:mismatch, type &&& @mask, format}
    end
  end

  defp encode_one({type, value}) when type in 0..@mask do
    {flags, bytes} = bytes(value)
    length = 4 + byte_size(bytes)
    if length > 0xFFFF, do: raise(ArgumentError, "attribute #{type} is longer than 65,531 bytes")

    [
      <<length::native-16, type ||| flags::native-16>>,
      bytes
      | <<0::size(-length &&& 3)-unit(8)>>
    ]
  end

  defp encode_one(other) do
    raise ArgumentError, "expected {type, value} of a netlink attribute, got: #{inspect(other)}"
  end

  defp bytes(attributes) when is_list(attributes), do: {@nested, encode(attributes)}
  defp bytes({:net, value}), do: {@net, Value.write(value, true)}
  defp bytes(value), do: {0, Value.write(value, false)}

  defp attempt(fun) do
    {:ok, fun.()}
  rescue
    error in DecodeError -> {:error, error.reason}
  end
end
