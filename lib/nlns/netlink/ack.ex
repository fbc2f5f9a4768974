defmodule Nlns.Netlink.Ack do
  @moduledoc """
  The kernel's verdict on a request: `struct nlmsgerr` of netlink(7), in a message of type `:error`, or the
  end of a dump, of type `:done`.

  The fields:

    * `errno` is 0 for an acknowledgement, else the positive number of the error.
    * `request` is the header of the request, as a message. Its payload is there if the kernel echoes it,
      which it does only for errors, and not on a socket with `NETLINK_CAP_ACK`. `nil` at the end of a dump.
    * The others are attributes that the kernel adds on a socket with `NETLINK_EXT_ACK` (Linux 4.12), each
      `nil` if absent: `message` is its explanation; `offset` is where in the request, counted in bytes from
      its header, the attribute at fault begins; `cookie` is what a family answers with success;
      `policy` (Linux 5.10) is what the attribute must fulfil, in the words of
      `enum netlink_policy_type_attr`; `miss_type` and `miss_nest` (Linux 6.1) are the type of an attribute that is
      missing, and the offset of the nest that lacks it.
  """
  @moduledoc since: "0.1.0"

  import Bitwise, only: [&&&: 2]

  alias Nlns.Netlink.{Attribute, DecodeError, Message}

  @attributes [
    message: {1, :string},
    offset: {2, :u32},
    cookie: {3, :binary},
    policy:
      {4,
       [
         type: {1, :u32},
         min_value_s: {2, :s64},
         max_value_s: {3, :s64},
         min_value_u: {4, :u64},
         max_value_u: {5, :u64},
         min_length: {6, :u32},
         max_length: {7, :u32},
         policy_idx: {8, :u32},
         policy_maxtype: {9, :u32},
         bitfield32_mask: {10, :u32},
         mask: {12, :u64}
       ]},
    miss_type: {5, :u32},
    miss_nest: {6, :u32}
  ]

  @type t :: %__MODULE__{
          errno: non_neg_integer(),
          request: Message.t() | nil,
          message: String.t() | nil,
          offset: non_neg_integer() | nil,
          cookie: binary() | nil,
          policy: %{optional(atom()) => integer()} | nil,
          miss_type: non_neg_integer() | nil,
          miss_nest: non_neg_integer() | nil
        }

  defstruct [:request | Keyword.keys(@attributes)] ++ [errno: 0]

  @doc """
  Decodes a message of type `:error` or `:done`.

      iex> alias Nlns.Netlink.{Ack, Attribute, Message}
      iex> request = Message.encode(%Message{type: 17, flags: [:request, :ack], seq: 7})
      iex> text = Attribute.encode([{1, {:string, "Unknown device type"}}, {2, {:u32, 16}}])
      iex> payload = <<-95::native-32, request::binary, text::binary>>
      iex> {:ok, ack} = Ack.decode(%Message{type: :error, flags: [:capped, :ack_tlvs], payload: payload})
      iex> {ack.errno, ack.message, ack.offset, ack.request.seq}
      {95, "Unknown device type", 16, 7}
  """
  @doc since: "0.1.0"
  @spec decode(Message.t()) :: {:ok, t()} | {:error, DecodeError.reason()}
  def decode(%Message{type: :error, payload: <<errno::native-signed-32, rest::binary>>} = message) do
    with {:ok, request, rest} <- request(rest, Message.flag?(message, :capped)),
         do: decode(message, %__MODULE__{errno: abs(errno), request: request}, rest)
  end

  def decode(%Message{type: :done, payload: <<errno::native-signed-32, rest::binary>>} = message),
    do: decode(message, %__MODULE__{errno: abs(errno)}, rest)

  # A few families of old kernels end a dump with nothing.
  def decode(%Message{type: :done, payload: <<>>}), do: {:ok, %__MODULE__{}}
  def decode(%Message{type: type}) when type in [:error, :done], do: {:error, {:malformed, 0}}
  def decode(%Message{type: type}), do: {:error, {:unexpected, type}}

  @doc "Decodes like `decode/1`, and returns the verdict or raises `Nlns.Netlink.DecodeError`."
  @doc since: "0.1.0"
  @spec decode!(Message.t()) :: t()
  def decode!(message) do
    case decode(message) do
      {:ok, ack} -> ack
      {:error, reason} -> raise DecodeError, reason: reason
    end
  end

  # The header says the request's own length, echoed or not. Before Linux 4.12 no flag says that it is not.
  defp request(<<length::native-32, header::binary-12, rest::binary>>, capped?) do
    [request] = Message.decode!(<<16::native-32, header::binary>>)
    size = if capped?, do: 0, else: length - 16

    case rest do
      <<payload::binary-size(size), rest::binary>> ->
        {:ok, %{request | payload: payload}, skip(rest, -size &&& 3)}

      _ ->
        {:ok, request, <<>>}
    end
  end

  defp request(_rest, _capped?), do: {:error, {:malformed, 4}}

  defp skip(rest, padding) do
    case rest do
      <<_::binary-size(padding), rest::binary>> -> rest
      _ -> <<>>
    end
  end

  defp decode(message, ack, rest) do
    if Message.flag?(message, :ack_tlvs) do
      with {:ok, attributes} <- Attribute.to_map(rest, @attributes),
           do: {:ok, struct!(ack, attributes)}
    else
      {:ok, ack}
    end
  end
end
