defmodule Nlns.Netlink.Exchange do
  @moduledoc false
  # An exchange as `Nlns.Native` takes it: submits it to the pool, and waits for the answer or leaves it to the
  # mailbox.

  import Bitwise

  alias Nlns.{Arguments, Native, Request, Spec, Telemetry}
  alias Nlns.Netlink.Message

  # linux/netlink.h
  @protocols %{
    route: 0,
    usersock: 2,
    firewall: 3,
    sock_diag: 4,
    inet_diag: 4,
    nflog: 5,
    xfrm: 6,
    selinux: 7,
    iscsi: 8,
    audit: 9,
    fib_lookup: 10,
    connector: 11,
    netfilter: 12,
    ip6_fw: 13,
    dnrtmsg: 14,
    kobject_uevent: 15,
    generic: 16,
    scsitransport: 18,
    ecryptfs: 19,
    rdma: 20,
    crypto: 21,
    smc: 22
  }

  @route 0
  # NLMSG_MIN_TYPE
  @first_type 16

  @netfilter 12
  # NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END
  @batch 16..17

  @request 0x001
  @ack 0x004

  @defaults [timeout: 5_000, max_reply: 16 * 1024 * 1024]
  # The kernel's own bound for one buffer, and far beyond what any answer has.
  @largest_reply 2_147_483_647

  @enforce_keys [:protocol, :request, :timeout, :max_reply]
  defstruct [:netns | @enforce_keys]

  @type t :: %__MODULE__{
          netns: binary() | pos_integer() | nil,
          protocol: non_neg_integer(),
          # encoded messages
          request: binary(),
          timeout: timeout(),
          max_reply: pos_integer()
        }

  @spec new!(Nlns.netns(), Nlns.Netlink.protocol(), Nlns.Netlink.request(), keyword()) :: t()
  def new!(netns, protocol, request, opts),
    do: in_netns!(new!(protocol, request, opts), netns)

  @doc "Makes an exchange without its namespace."
  @spec new!(Nlns.Netlink.protocol(), Nlns.Netlink.request(), keyword()) :: t()
  def new!(protocol, request, opts) do
    opts = Arguments.options!(opts, @defaults)
    protocol = protocol!(protocol)

    %__MODULE__{
      protocol: protocol,
      request: encode!(protocol, request),
      timeout: Arguments.timeout!(opts[:timeout]),
      max_reply: max_reply!(opts[:max_reply])
    }
  end

  @spec in_netns!(t(), Nlns.netns()) :: t()
  def in_netns!(exchange, netns), do: %{exchange | netns: Spec.netns!(netns)}

  @doc "The options and their defaults."
  @spec defaults() :: keyword()
  def defaults, do: @defaults

  @doc """
  The number of a protocol.

      iex> Nlns.Netlink.Exchange.protocol!(:sock_diag)
      4
  """
  @spec protocol!(Nlns.Netlink.protocol()) :: non_neg_integer()
  def protocol!(name) when is_map_key(@protocols, name), do: Map.fetch!(@protocols, name)
  def protocol!(number) when is_integer(number), do: Arguments.protocol!(number)

  def protocol!(other) do
    names = @protocols |> Map.keys() |> Enum.map_join(", ", &inspect/1)

    raise ArgumentError,
          "expected a netlink protocol of #{names} or a number, got: #{inspect(other)}"
  end

  @spec run(t()) :: {:ok, [Message.t()]} | {:error, Nlns.Netlink.reason()}
  def run(%{netns: netns, timeout: timeout} = exchange) do
    Telemetry.span(:netlink, %{netns: netns, protocol: exchange.protocol}, fn ->
      Request.run(netns, timeout, &submit(exchange, &1))
    end)
  end

  @spec start(t()) :: Request.t()
  def start(%{netns: netns, timeout: timeout} = exchange),
    do: Request.start(netns, timeout, &submit(exchange, &1))

  defp submit(exchange, ref) do
    timeout = if exchange.timeout != :infinity, do: exchange.timeout

    Native.exchange(
      exchange.netns,
      exchange.protocol,
      exchange.request,
      exchange.max_reply,
      timeout,
      ref
    )
  end

  defp encode!(_protocol, []), do: raise(ArgumentError, "expected at least one message, got: []")

  defp encode!(protocol, request) when is_list(request),
    do: request |> Enum.map(&request!(protocol, &1)) |> Message.encode()

  defp encode!(protocol, request), do: encode!(protocol, [request])

  defp request!(@netfilter, %Message{type: type} = message) when type in @batch,
    do: %{message | flags: (Message.flags(message.flags) ||| @request) &&& bnot(@ack)}

  defp request!(protocol, %Message{} = message) do
    if protocol == @route and ignored?(message) do
      raise ArgumentError,
            "expected a payload that begins with a struct of rtnetlink(7), got none: #{inspect(message)}"
    end

    %{message | flags: Message.flags(message.flags) ||| @request ||| @ack}
  end

  defp request!(_protocol, other) do
    raise ArgumentError, "expected a %Nlns.Netlink.Message{}, got: #{inspect(other)}"
  end

  # The kernel acknowledges it, and does nothing: rtnetlink_rcv_msg() in net/core/rtnetlink.c.
  defp ignored?(%{type: type, payload: payload}),
    do: is_integer(type) and type >= @first_type and IO.iodata_length(payload) == 0

  defp max_reply!(size) when size in 1..@largest_reply, do: size

  defp max_reply!(other) do
    raise ArgumentError,
          "expected a max_reply of 1 to #{@largest_reply} bytes, got: #{inspect(other)}"
  end
end
