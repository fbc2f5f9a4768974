defmodule Nlns.Netlink.Message do
  @moduledoc """
  A netlink message: `struct nlmsghdr` of netlink(7), and the payload behind it.

      iex> alias Nlns.Netlink.Message
      iex> request = %Message{type: 18, flags: [:request, :dump], payload: <<0::128>>}
      iex> {:ok, [message]} = request |> Message.encode() |> Message.decode()
      iex> {message.type, Message.flag?(message, :dump), message.payload}
      {18, true, <<0::128>>}

  The fields:

    * `type` is the kernel's number, such as 18 for `RTM_GETLINK`, or the name of a control message:
      `:noop`, `:error`, `:done`, `:overrun`.
    * `flags` of a request are a number, a name, or a list of both; those of a decoded message are a number,
      which `flag?/2` reads.
    * `seq` and `pid` tell which request a message answers, and from which socket the request came.
    * `payload` of a request is iodata; that of a decoded message is a part of the decoded binary.

  A part keeps the whole binary in memory. Keep `:binary.copy/1` of a part that outlives the answer.

  nlns knows no types and no payloads but the control messages' (`Nlns.Netlink.Ack`). A payload begins with
  the structure of its type, such as `struct ifinfomsg`, which the caller writes and matches as bytes;
  attributes follow it (`Nlns.Netlink.Attribute`). The guide `netlink.md` shows both.

  The names of the flags are those of linux/netlink.h without `NLM_F_`. Some share a bit, because their
  meaning depends on the kind of message:

  | messages | flags |
  |---|---|
  | all | `:request`, `:multi`, `:ack`, `:echo`, `:dump_intr`, `:dump_filtered` |
  | that get | `:root` (0x100), `:match` (0x200), `:atomic` (0x400), `:dump` (`:root` and `:match`) |
  | that make | `:replace` (0x100), `:excl` (0x200), `:create` (0x400), `:append` (0x800) |
  | that delete | `:nonrec` (0x100), `:bulk` (0x200) |
  | of type `:error` | `:capped` (0x100), `:ack_tlvs` (0x200) |
  """
  @moduledoc since: "0.1.0"

  import Bitwise

  alias Nlns.Netlink.DecodeError

  @header 16

  @types %{noop: 1, error: 2, done: 3, overrun: 4}

  @flags %{
    request: 0x001,
    multi: 0x002,
    ack: 0x004,
    echo: 0x008,
    dump_intr: 0x010,
    dump_filtered: 0x020,
    root: 0x100,
    match: 0x200,
    atomic: 0x400,
    dump: 0x300,
    replace: 0x100,
    excl: 0x200,
    create: 0x400,
    append: 0x800,
    nonrec: 0x100,
    bulk: 0x200,
    capped: 0x100,
    ack_tlvs: 0x200
  }

  @type type :: 0..0xFFFF | :noop | :error | :done | :overrun
  @type flag ::
          unquote(
            @flags
            |> Map.keys()
            |> Enum.reduce(&quote(do: unquote(&1) | unquote(&2)))
          )
  @type flags :: 0..0xFFFF | flag() | [flag() | 0..0xFFFF]

  @type t :: %__MODULE__{
          type: type(),
          flags: flags(),
          seq: 0..0xFFFFFFFF,
          pid: 0..0xFFFFFFFF,
          payload: iodata()
        }

  @enforce_keys [:type]
  defstruct [:type, flags: 0, seq: 0, pid: 0, payload: ""]

  @doc """
  Encodes a message, or several one behind the other.

  Raises `ArgumentError` for a field that is out of its range.

      iex> message = %Nlns.Netlink.Message{type: :noop, flags: :request, payload: "abc"}
      iex> <<19::native-32, 1::native-16, 1::native-16, 0::64, "abc", 0>> =
      ...>   Nlns.Netlink.Message.encode(message)
      iex> byte_size(Nlns.Netlink.Message.encode([message, message]))
      40
  """
  @doc since: "0.1.0"
  @spec encode(t() | [t()]) :: binary()
  def encode(messages) do
    messages |> List.wrap() |> Enum.map(&encode_one/1) |> IO.iodata_to_binary()
  end

  @doc """
  Decodes messages that follow each other, as the kernel packs them into its datagrams.

  Time and memory grow with the size of the binary, whatever is in it. The padding of the last message may
  be missing.

      iex> Nlns.Netlink.Message.decode(<<20::native-32, 3::native-16, 2::native-16, 7::native-32, 0::64>>)
      {:ok, [%Nlns.Netlink.Message{type: :done, flags: 2, seq: 7, pid: 0, payload: <<0::32>>}]}

      iex> Nlns.Netlink.Message.decode(<<0::128>>)
      {:error, {:malformed, 0}}
  """
  @doc since: "0.1.0"
  @spec decode(binary()) :: {:ok, [t()]} | {:error, DecodeError.reason()}
  def decode(binary) when is_binary(binary), do: decode(binary, byte_size(binary), [])

  @doc "Decodes like `decode/1`, and returns the messages or raises `Nlns.Netlink.DecodeError`."
  @doc since: "0.1.0"
  @spec decode!(binary()) :: [t()]
  def decode!(binary) do
    case decode(binary) do
      {:ok, messages} -> messages
      {:error, reason} -> raise DecodeError, reason: reason
    end
  end

  @doc """
  Returns whether all bits of a flag are set.

      iex> Nlns.Netlink.Message.flag?(%Nlns.Netlink.Message{type: 20, flags: 0x12}, :dump_intr)
      true
  """
  @doc since: "0.1.0"
  @spec flag?(t(), flag()) :: boolean()
  def flag?(%__MODULE__{flags: flags}, flag) do
    bits = flags(flag)
    (flags(flags) &&& bits) == bits
  end

  @doc """
  Returns the number that flags stand for.

      iex> Nlns.Netlink.Message.flags([:request, :create, :excl])
      0x601
  """
  @doc since: "0.1.0"
  @spec flags(flags()) :: 0..0xFFFF
  def flags(flags) when flags in 0..0xFFFF, do: flags
  def flags(flag) when is_map_key(@flags, flag), do: Map.fetch!(@flags, flag)
  def flags(flags) when is_list(flags), do: Enum.reduce(flags, 0, &(flags(&1) ||| &2))
  def flags(other), do: raise(ArgumentError, "expected netlink flags, got: #{inspect(other)}")

  defp encode_one(%__MODULE__{seq: seq, pid: pid} = message)
       when seq in 0..0xFFFFFFFF and pid in 0..0xFFFFFFFF do
    length = @header + IO.iodata_length(message.payload)
    type = type_number(message.type)

    [
      <<length::native-32, type::native-16, flags(message.flags)::native-16, seq::native-32,
        pid::native-32>>,
      message.payload
      | <<0::size(padding(length))-unit(8)>>
    ]
  end

  defp encode_one(other) do
    raise ArgumentError, "expected a message with 32-bit seq and pid, got: #{inspect(other)}"
  end

  defp decode(
         <<length::native-32, type::native-16, flags::native-16, seq::native-32, pid::native-32,
           payload::binary-size(length - @header), rest::binary>>,
         total,
         messages
       ) do
    type = type_name(type)
    message = %__MODULE__{type: type, flags: flags, seq: seq, pid: pid, payload: payload}
    rest |> skip(padding(length)) |> decode(total, [message | messages])
  end

  defp decode(<<>>, _total, messages), do: {:ok, Enum.reverse(messages)}
  defp decode(rest, total, _messages), do: {:error, {:malformed, total - byte_size(rest)}}

  defp skip(rest, padding) do
    case rest do
      <<_::binary-size(padding), rest::binary>> -> rest
      _ -> <<>>
    end
  end

  # NLMSG_ALIGNTO
  defp padding(length), do: -length &&& 3

  defp type_number(type) when type in 0..0xFFFF, do: type
  defp type_number(name) when is_map_key(@types, name), do: Map.fetch!(@types, name)

  defp type_number(other) do
    raise ArgumentError, "expected the type of a netlink message, got: #{inspect(other)}"
  end

  for {name, number} <- @types, do: defp(type_name(unquote(number)), do: unquote(name))
  defp type_name(number), do: number
end
