defmodule Nlns.Netlink do
  @moduledoc """
  Asks the kernel inside a network namespace, by netlink(7), and returns its whole answer.

  A helper thread sends the request, reads its whole answer and passes the messages to the caller. There is no
  socket to open, to read in a loop and to close.

      alias Nlns.Netlink
      alias Nlns.Netlink.{Attribute, Message}

      # RTM_GETLINK with an empty struct ifinfomsg, rtnetlink(7)
      links = %Message{type: 18, flags: :dump, payload: <<0::128>>}
      {:ok, messages} = Netlink.execute({:name, "blue"}, :route, links)

      # IFLA_IFNAME of each
      for %Message{payload: <<_ifinfomsg::binary-16, attributes::binary>>} <- messages,
          do: Attribute.to_map!(attributes, name: {3, :string}).name

  The [netlink guide](netlink.md) shows changes, batches, errors and events.

  ## Requests

  A request is a `Nlns.Netlink.Message` or a list of them. nlns sets `seq` and `pid`, and of the flags
  `:request` and `:ack`, so that the end of the answer is certain. (nfnetlink's batch begin and end, types 16
  and 17 of `:netfilter`, get no `:ack`: Linux acknowledges them since 6.10 only.)

  The requests of a list are sent in order, in one datagram, as nftables wants its batches. A dump among
  them has a datagram of its own, and is sent after the answers to what precedes it. The answer holds the
  messages of all. The first error ends the exchange; the kernel may have carried out what preceded it, and
  in the same datagram what follows it.

  A socket of nlns asks for strict checks (`NETLINK_GET_STRICT_CHK`, Linux 4.20): the kernel honours the
  filters of a dump, and refuses a header that is too short or has unknown bits. A request of `:route` without a
  payload, which the kernel acknowledges and ignores, raises `ArgumentError`.

  ## Answers

  An answer is whole or an error. It has the messages that answer the request, in the kernel's order, without
  acknowledgements and without the `:done` of a dump. Their payloads are parts of one binary, which each of
  them keeps in memory: keep `:binary.copy/1` of what outlives the answer.

  Nothing but the kernel can put something into it: the socket is connected to the kernel, which refuses what
  other processes of the namespace send to it.

  The kernel marks a dump that was changed meanwhile (`NLM_F_DUMP_INTR`). It is asked for again, five times in
  all.

  The end of an answer is the `:done` of a dump, or else the acknowledgement. A family that acknowledges a
  request and answers it only afterwards, as `:audit` does, is for `Nlns.open_socket/5`. So are events, and a
  family that acknowledges nothing: there an exchange ends with its `timeout`. Until then it holds up the other
  requests of its namespace's path, and `Nlns.release/2`.

  ## Errors

    * `{stage, errno}` for `:open`, `:setns`, `:socket` and `:thread`, as of every function of `Nlns`
    * `{:send, errno}`: send(2) of the request failed. 1 (`EPERM`): the protocol is not for this user.
      22 (`EINVAL`): the request is not made of whole messages. 90 (`EMSGSIZE`): it is larger than the kernel takes.
      111 (`ECONNREFUSED`): the kernel does not listen to this protocol in this namespace. (One that it does not
      have is `{:socket, 93}`.)
    * `{:receive, errno}`: the answer could not be read. 4 (`EINTR`): a dump changed under each attempt.
      12 (`ENOMEM`): there is no memory for it. 27 (`EFBIG`): it is larger than `max_reply`. 74 (`EBADMSG`): it is
      no netlink message. 90 (`EMSGSIZE`): one datagram is larger than its buffer.
      105 (`ENOBUFS`): the kernel had no room for a part of it. The answers to a list have 4 MiB, or
      `net.core.rmem_max` without `CAP_NET_ADMIN`; changes are made all the same.
    * `{:netlink, errno, details}`: the kernel refused the request. `details` has its explanation in words as
      `:message`, and as `:offset` where in the request, counted from its header, the attribute at fault
      begins. Both are `nil` where the kernel gives none; it gives some since Linux 4.12. `:index` is
      which request of a list it was, counted from 0.

  `Nlns.format_error/1` makes a sentence of each.
  """
  @moduledoc since: "0.1.0"

  alias Nlns.{Error, Request}
  alias Nlns.Netlink.{Exchange, Message, Stream}

  @typedoc """
  A netlink protocol, by number or by its name in linux/netlink.h: `:route`, `:generic`, `:netfilter`,
  `:sock_diag`, `:xfrm`, `:audit`, `:fib_lookup`, `:connector`, `:crypto`, ...
  """
  @type protocol :: atom() | non_neg_integer()

  @type request :: Message.t() | [Message.t(), ...]

  @typedoc "A failed step, or the kernel's own refusal."
  @type reason ::
          Nlns.reason()
          | {:send | :receive, integer()}
          | {:netlink, integer(),
             %{
               message: binary() | nil,
               offset: non_neg_integer() | nil,
               index: non_neg_integer()
             }}

  @typedoc """
    * `timeout`: 0 to 4,294,967,295 ms or `:infinity`, 5,000 unless given; counted from the call, the queue and the
      kernel included
    * `max_reply`: the most bytes of messages that an answer may have, 1 to 2,147,483,647, 16 MiB unless given
  """
  @type opts :: [timeout: timeout(), max_reply: pos_integer()]

  @typedoc """
  Those of `t:opts/0` for each exchange, and

    * `max_in_flight`: how many exchanges may be under way or wait to be taken, 1 to 100,000, 64 unless given
    * `ordered`: whether the elements come in the order of the namespaces, as they do unless this is `false`
  """
  @type stream_opts :: [
          timeout: timeout(),
          max_reply: pos_integer(),
          max_in_flight: pos_integer(),
          ordered: boolean()
        ]

  @doc """
  Sends a request in a namespace, waits for the whole answer and returns its messages.

  Running out of the `timeout` returns `{:error, {:thread, 110}}` (`ETIMEDOUT`) and leaves neither a socket
  nor a message behind. Note: a change that was sent may be carried out all the same.
  """
  @doc since: "0.1.0"
  @spec execute(Nlns.netns(), protocol(), request(), opts()) ::
          {:ok, [Message.t()]} | {:error, reason()}
  def execute(netns, protocol, request, opts \\ []),
    do: netns |> Exchange.new!(protocol, request, opts) |> Exchange.run()

  @doc "Executes like `execute/4`, and returns the messages or raises `Nlns.Error`."
  @doc since: "0.1.0"
  @spec execute!(Nlns.netns(), protocol(), request(), opts()) :: [Message.t()]
  def execute!(netns, protocol, request, opts \\ []),
    do: Error.ok!(execute(netns, protocol, request, opts))

  @doc """
  Begins an exchange and returns at once.

  Exactly one message answers, to the calling process:

      {:nlns, ref, {:ok, messages}}
      {:nlns, ref, {:error, reason}}

  where `ref` is the request's. Receive it yourself (`c:GenServer.handle_info/2`), or `Nlns.await/2` it, or
  `Nlns.cancel/1` it.

  When the `timeout` is over, the message is `{:error, {:thread, 110}}`. Note: it is late while the kernel
  keeps the helper in a system call, which `Nlns.await/2` does not wait for.
  """
  @doc since: "0.1.0"
  @spec execute_async(Nlns.netns(), protocol(), request(), opts()) :: Request.t()
  def execute_async(netns, protocol, request, opts \\ []),
    do: netns |> Exchange.new!(protocol, request, opts) |> Exchange.start()

  @doc """
  Returns a stream that sends a request in each of many namespaces: one element
  `{netns, {:ok, messages} | {:error, reason}}` for each.

  It is lazy: a namespace is taken from `netnss` when there is room for another exchange among the
  `max_in_flight`, and nothing is asked before an element is wanted. With `ordered: false` elements come as
  the answers do, so that a slow namespace delays no other. A stream that is halted cancels what is under way.

      {:ok, names} = File.ls("/run/netns")

      names
      |> Elixir.Stream.map(&{:name, &1})
      |> Nlns.Netlink.stream(:route, links, ordered: false)
      |> Enum.each(fn
        {netns, {:ok, messages}} -> IO.inspect({netns, length(messages)})
        {netns, {:error, reason}} -> IO.puts("\#{inspect(netns)}: \#{Nlns.format_error(reason)}")
      end)

  Answers arrive as messages of the process that takes the elements.
  """
  @doc since: "0.1.0"
  @spec stream(Enumerable.t(), protocol(), request(), stream_opts()) :: Enumerable.t()
  def stream(netnss, protocol, request, opts \\ []),
    do: Stream.new!(netnss, protocol, request, opts)
end
