defmodule Nlns do
  @external_resource "README.md"
  @moduledoc "README.md"
             |> File.read!()
             |> String.split("<!-- moduledoc -->")
             |> Enum.fetch!(1)
  @moduledoc since: "0.1.0"

  alias Nlns.{Arguments, Close, Error, Handle, Native, Netlink, Open, Request, Spec}

  # linux/socket.h; both are part of the kernel's ABI.
  @af_netlink 16
  @sock_raw 3

  @ebadf 9

  @typedoc """
  The step that failed: `open(2)` of the path, `setns(2)` into the namespace, `socket(2)` inside it;
  `:thread` is everything about threads and queues.
  """
  @type stage :: :open | :setns | :socket | :thread

  @typedoc "A failed step and its `errno(3)`; `format_error/1` says what to do about it."
  @type reason :: {stage(), integer()}

  @typedoc """
  A network namespace: a path, that of a process, or the one that `ip netns` gave a name
  (`/run/netns/NAME`).

  `{:pid, pid}` means the process that has this number for the VM, in its own pid namespace, when the call
  is made, whatever is mounted at `/proc`. Where neither the kernel (Linux 6.11) nor a procfs can tell, the
  answer is `{:open, 95}`. If the process ends before the socket is open, the answer is `{:open, 2}`, even
  if another process has got the number by then. (Before Linux 5.3, which has no pidfds, that is not proven:
  the process that has the number later is meant.) A path is what it is to the kernel: `/proc/17/ns/net` is
  the process 17 of the pid namespace that this `/proc` shows.
  """
  @type netns :: binary() | {:pid, pos_integer()} | {:name, binary()}

  @typedoc "As `:socket.open/3` takes it, by name or number: `:inet`, `:inet6`, `:local`; and `:netlink`, `:packet`."
  @type domain :: atom() | non_neg_integer()

  @typedoc "`:stream`, `:dgram`, `:raw`, `:seqpacket`, `:rdm` or a number."
  @type type :: atom() | non_neg_integer()

  @typedoc """
  `:default`, `:tcp`, `:udp`, `:icmp`, `:ICMP`, ... (protocols(5)) or a number: the form that socket(2) takes
  for the domain.
  (For `:packet` that is network byte order, packet(7): `0x0300` is every protocol.)
  """
  @type protocol :: atom() | non_neg_integer()

  @typedoc "`timeout` (0 to 4,294,967,295 ms or `:infinity`, 5,000 unless given). Other keys raise `ArgumentError`."
  @type opts :: [timeout: timeout()]

  @typedoc "What the message of a request has: of an open a handle, of a netlink exchange its messages."
  @type answer ::
          {:ok, Handle.t() | [Netlink.Message.t()]} | {:error, reason() | Netlink.reason()}

  @typedoc """
  What `info/0` returns.

    * `max_helpers`, `idle_timeout` (ms), `max_queue`: the configuration
    * `helpers`: one `t:helper/0` for each helper thread; `stuck`: how many of them are stuck
    * `paths`: paths that have requests or a helper, or had until lately
    * `waiting`: requests in all their queues, with those that were given up and not taken out yet
    * `closing`: descriptors that are being closed, where that takes time, or that wait for the close of another
      descriptor of their socket
    * `held_back`: those of `waiting` that wait until sockets of their kind are closed; `max_closing`: how many
      of a kind may be closing when another is opened (see [closing](closing.md))

  Since the start of the application, each answer once:

    * `opened`: sockets
    * `exchanged`: netlink exchanges, by `Nlns.Netlink`, that have succeeded
    * `failed`: answers with a step's errno, refusals of netlink requests by the kernel, and `{:thread, 5}`
    * `refused`: other answers of the stage `:thread` (the queue is full, no helper is available)
    * `cancelled`: requests that were cancelled, by a timeout too, before they were served

  Since the start of the application:

    * `entered`: times a helper entered a namespace
    * `woken`: times a request woke a sleeping helper
    * `started`: threads; `died`: threads that ended by a panic
  """
  @type info :: %{
          max_helpers: pos_integer(),
          idle_timeout: timeout(),
          max_queue: pos_integer(),
          helpers: [helper()],
          stuck: non_neg_integer(),
          paths: non_neg_integer(),
          waiting: non_neg_integer(),
          closing: non_neg_integer(),
          held_back: non_neg_integer(),
          max_closing: pos_integer(),
          opened: non_neg_integer(),
          exchanged: non_neg_integer(),
          failed: non_neg_integer(),
          refused: non_neg_integer(),
          cancelled: non_neg_integer(),
          entered: non_neg_integer(),
          woken: non_neg_integer(),
          started: non_neg_integer(),
          died: non_neg_integer()
        }

  @typedoc """
  A helper thread.

    * `id`: its number, never used twice
    * `state`: `:parked` in no namespace, `:pinned` in one and idle, `:serving`, or `:stuck`: serving one
      batch for over a second, so the kernel blocks it, or a netlink exchange waits for its answer
    * `path`, `pinned_ms`: what led it where it is, a path or `{:pid, pid}`, and for how long it has been
      there; `nil` in no namespace
    * `served`: sockets that it opened, and netlink exchanges
  """
  @type helper :: %{
          id: pos_integer(),
          state: :parked | :pinned | :serving | :stuck,
          path: binary() | {:pid, pos_integer()} | nil,
          pinned_ms: non_neg_integer() | nil,
          served: non_neg_integer()
        }

  @doc group: "Sockets of every family"
  @doc """
  Opens a socket in a namespace and returns it as a `t::socket.socket/0` of the calling process.

      {:ok, udp} = Nlns.open_socket({:name, "blue"}, :inet, :dgram, :udp)
      :ok = :socket.connect(udp, %{family: :inet, addr: {127, 0, 0, 1}, port: 53})
      :ok = :socket.close(udp)

  It is ready for `:socket.connect/2` and `:socket.bind/2`. `:socket.close/1` closes it, and so does the end
  of the process. An error of `:socket` itself has the stage `:socket`.

  Running out of the `timeout` returns `{:error, {:thread, 110}}` (`ETIMEDOUT`), and leaves neither a
  descriptor nor a message behind.

  A `:packet` socket, a netlink socket of `NETLINK_NETFILTER` and one of a family or protocol that was never measured
  are slow to close. Such a `:socket` takes two descriptors, and a thread of nlns has the last close. While 32 of such a
  kind are being closed (`max_closing` of `info/0`), the open of another waits, within its timeout. See
  [closing](closing.md), also for what becomes of a socket whose owner ends.
  """
  @doc since: "0.1.0"
  @spec open_socket(netns(), domain(), type(), protocol(), opts()) ::
          {:ok, :socket.socket()} | {:error, reason()}
  def open_socket(netns, domain, type, protocol, opts \\ []) do
    Open.socket(
      Spec.netns!(netns),
      Spec.domain!(domain),
      Spec.type!(type),
      Spec.protocol!(protocol),
      Arguments.timeout_of!(opts)
    )
  end

  @doc group: "Sockets of every family"
  @doc "Opens like `open_socket/5`, and returns the socket or raises `Nlns.Error`."
  @doc since: "0.1.0"
  @spec open_socket!(netns(), domain(), type(), protocol(), opts()) :: :socket.socket()
  def open_socket!(netns, domain, type, protocol, opts \\ []),
    do: Error.ok!(open_socket(netns, domain, type, protocol, opts))

  @doc group: "Sockets of every family"
  @doc """
  Opens a socket in a namespace and returns its descriptor, close-on-exec, which the caller owns.

      {:ok, fd} = Nlns.open_fd({:name, "blue"}, :inet, :stream, :tcp)
      {:ok, tcp} = :gen_tcp.connect({127, 0, 0, 1}, 80, [:binary, active: false, fd: fd])
      :ok = :gen_tcp.close(tcp)
      :ok = Nlns.close_fd(fd)

  It is for `:gen_tcp`, `:gen_udp` and `:gen_sctp`. They use a descriptor as it is (`fd:`) and never close
  it: the caller does, with `close_fd/1`, after theirs. A stream whose peer may not take all data first needs
  `:inet.setopts(tcp, linger: {true, 0})`, see [migrating](migrating.md).
  `open_socket/5` returns a socket that is closed with its owner. The timeout is that of `open_socket/5`.
  """
  @doc since: "0.1.0"
  @spec open_fd(netns(), domain(), type(), protocol(), opts()) ::
          {:ok, non_neg_integer()} | {:error, reason()}
  def open_fd(netns, domain, type, protocol, opts \\ []) do
    Open.fd(
      Spec.netns!(netns),
      Spec.domain!(domain),
      Spec.type!(type),
      Spec.protocol!(protocol),
      Arguments.timeout_of!(opts)
    )
  end

  @doc group: "Sockets of every family"
  @doc "Opens like `open_fd/5`, and returns the descriptor or raises `Nlns.Error`."
  @doc since: "0.1.0"
  @spec open_fd!(netns(), domain(), type(), protocol(), opts()) :: non_neg_integer()
  def open_fd!(netns, domain, type, protocol, opts \\ []),
    do: Error.ok!(open_fd(netns, domain, type, protocol, opts))

  @doc group: "Sockets of every family"
  @doc """
  Begins to open a socket in a namespace and returns at once.

  Exactly one message answers, to the calling process:

      {:nlns, ref, {:ok, %Nlns.Handle{}}}
      {:nlns, ref, {:error, {stage, errno}}}

  where `ref` is the request's. A refusal at once, of a full queue for example, arrives as that message
  too. Receive it (`c:GenServer.handle_info/2`), or `await/2` the request, or `cancel/1` it.

  The `timeout` is how long `await/1` waits. It does not end a request that no process awaits: `cancel/1` does.
  """
  @doc since: "0.1.0"
  @spec open_async(netns(), domain(), type(), protocol(), opts()) :: Request.t()
  def open_async(netns, domain, type, protocol, opts \\ []) do
    Open.async(
      Spec.netns!(netns),
      Spec.domain!(domain),
      Spec.type!(type),
      Spec.protocol!(protocol),
      Arguments.timeout_of!(opts)
    )
  end

  @doc group: "Requests"
  @doc """
  Waits for a request and returns what its message has: a handle, which the caller owns, or the messages of
  `Nlns.Netlink.execute_async/4`.

      request = Nlns.open_async({:name, "blue"}, :inet, :stream, :tcp)
      {:ok, handle} = Nlns.await(request, 100)
      {:ok, socket} = Nlns.Handle.to_socket(handle)

  `await/1` waits for the `timeout` that `open_async/5` was given, 5,000 ms unless told otherwise. Running
  out of time cancels the request and returns `{:error, {:thread, 110}}`. A request can be awaited once, and
  only by the process that made it. A second call waits in vain, and then closes the descriptor of the handle that
  the first one returned.
  """
  @doc since: "0.1.0"
  @spec await(Request.t()) :: answer()
  def await(request), do: Request.await(Arguments.request!(request), request.timeout)

  @doc group: "Requests"
  @doc "Waits like `await/1`, for `timeout` ms or for ever (`:infinity`)."
  @doc since: "0.1.0"
  @spec await(Request.t(), timeout()) :: answer()
  def await(request, timeout),
    do: Request.await(Arguments.request!(request), Arguments.timeout!(timeout))

  @doc group: "Requests"
  @doc "Waits like `await/1`, and returns the handle or raises `Nlns.Error`."
  @doc since: "0.1.0"
  @spec await!(Request.t()) :: Handle.t() | [Netlink.Message.t()]
  def await!(request), do: Error.ok!(await(request))

  @doc group: "Requests"
  @doc "Waits like `await/2`, and returns the handle or raises `Nlns.Error`."
  @doc since: "0.1.0"
  @spec await!(Request.t(), timeout()) :: Handle.t() | [Netlink.Message.t()]
  def await!(request, timeout), do: Error.ok!(await(request, timeout))

  @doc group: "Requests"
  @doc """
  Cancels a request: from then on no message of it arrives, and nothing of it is left open.

  An answer that is in the mailbox already is taken out of it and closed. A handle that was received
  before is spent. Only the process that made the request can cancel it.

  It returns when the descriptor is closed, which takes milliseconds for sockets that are slow to close (see
  [closing](closing.md)); a timeout waits likewise. A socket that a helper is opening at that very moment is closed
  by the helper at once, or by a thread of nlns if it is slow to close.
  """
  @doc since: "0.1.0"
  @spec cancel(Request.t()) :: :ok
  def cancel(request) do
    %Request{ref: ref, resource: resource} = Arguments.request!(request)
    Request.cancel(ref, resource)
  end

  @doc group: "Netlink descriptors"
  @doc """
  Opens an `AF_NETLINK`, `SOCK_RAW`, `SOCK_CLOEXEC` socket in the network namespace that `path` names.

  `path` is a namespace file: `/run/netns/NAME`, `/proc/PID/ns/net` or a bind mount of one. `protocol`
  is one of the `NETLINK_*` numbers of netlink(7), 0 (`NETLINK_ROUTE`) for links, addresses and routes.

  The caller owns the descriptor and must close it with `close_fd/1`.

  Note: do not give it to `:socket.open/1`, which duplicates it. An original that is not closed as well
  keeps the namespace alive for ever. `open_socket/5` returns a `:socket`.

  Running out of `timeout` (ms, or `:infinity`) returns `{:error, {:thread, 110}}` (`ETIMEDOUT`), and
  leaves neither a descriptor nor a message behind.
  """
  @doc since: "0.1.0"
  @spec open_in_netns(iodata(), non_neg_integer(), timeout()) ::
          {:ok, non_neg_integer()} | {:error, reason()}
  def open_in_netns(path, protocol, timeout \\ 5_000) do
    path = Arguments.path!(path)
    protocol = Arguments.protocol!(protocol)
    Open.fd(path, @af_netlink, @sock_raw, protocol, Arguments.timeout!(timeout))
  end

  @doc group: "Netlink descriptors"
  @doc "Opens like `open_in_netns/3`, and returns the descriptor or raises `Nlns.Error`."
  @doc since: "0.1.0"
  @spec open_in_netns!(iodata(), non_neg_integer(), timeout()) :: non_neg_integer()
  def open_in_netns!(path, protocol, timeout \\ 5_000),
    do: Error.ok!(open_in_netns(path, protocol, timeout))

  @doc group: "Netlink descriptors"
  @doc "Begins to open a socket of `open_in_netns/3`, and answers like `open_async/5`."
  @doc since: "0.1.0"
  @spec open_in_netns_async(iodata(), non_neg_integer()) :: Request.t()
  def open_in_netns_async(path, protocol) do
    path = Arguments.path!(path)
    Open.async(path, @af_netlink, @sock_raw, Arguments.protocol!(protocol), 5_000)
  end

  @doc group: "Netlink descriptors"
  @doc """
  Binds a netlink socket: bind(2) with `nl_pid` 0, so that the kernel chooses a port, and the multicast
  groups of the bitmask `groups` (0 to 0xFFFFFFFF; group *n* is bit *n* - 1, netlink(7)).

  The socket may be a `t::socket.socket/0` or the number of any netlink descriptor of the VM, also of
  one that nlns did not open. An error is the errno of bind(2): 9 (`EBADF`) for a closed one, 22
  (`EINVAL`) for one that is bound already, 22 or 97 (`EAFNOSUPPORT`) for another family's, 88
  (`ENOTSOCK`) for a file.
  """
  @doc since: "0.1.0"
  @spec bind_netlink(:socket.socket() | integer(), non_neg_integer()) :: :ok | {:error, integer()}
  def bind_netlink(socket, groups) do
    groups = Arguments.groups!(groups)

    case Arguments.fd_of!(socket) do
      {:ok, fd} -> Native.bind_netlink(fd, groups)
      {:error, _closed} -> {:error, @ebadf}
    end
  end

  @doc group: "Netlink descriptors"
  @doc "Binds like `bind_netlink/2`, or raises `Nlns.Error` of the stage `:bind`."
  @doc since: "0.1.0"
  @spec bind_netlink!(:socket.socket() | integer(), non_neg_integer()) :: :ok
  def bind_netlink!(socket, groups) do
    with {:error, errno} <- bind_netlink(socket, groups), do: raise(Error, {:bind, errno})
  end

  @doc group: "Netlink descriptors"
  @doc """
  Closes a descriptor that `open_in_netns/3`, `open_fd/5` or `Nlns.Handle.to_fd/1` returned, if the
  number still names that socket.

  It is closed when this returns. That takes as long as close(2): a few microseconds for netlink,
  milliseconds for a `:packet` socket or a listener with thousands of waiting connections, up to its time for
  a stream with `SO_LINGER` (socket(7)). A scheduler closes plain netlink sockets only. A thread of nlns
  closes others, and only the caller waits; for others too while 16 closes of the same kind take long, or 8 in
  the same namespace (but of `:packet`). With the application stopped the scheduler closes, and nothing lingers.

  A second call, or one with a number that names something else by now, closes nothing. The next descriptor
  that the VM opens may get a closed number.
  """
  @doc since: "0.1.0"
  @spec close_fd(integer()) :: :ok
  def close_fd(fd), do: fd |> Arguments.fd!() |> Close.fd()

  @doc group: "The pool"
  @doc """
  Makes every helper leave the namespace that this path or process led it to, after serving the requests
  that wait for it. `:ok` once none is there, also if none was.

  `{:name, name}` is the path `/run/netns/NAME` here. Helpers that came by another path to the same
  namespace stay, and so do those that came by `/proc/PID/ns/net` when `{:pid, pid}` is released.

  Use it before deleting a namespace when `idle_timeout` must not delay its end. A helper that does not get
  to it within `timeout` ms (it is blocked in the kernel) answers `{:error, {:thread, 110}}`, or
  `{:error, {:thread, 108}}` if the application is stopped meanwhile. As many releases of a path may wait as
  requests (`max_queue`); one more answers `{:error, {:thread, 11}}`.
  """
  @doc since: "0.1.0"
  @spec release(netns(), timeout()) :: :ok | {:error, reason()}
  def release(netns, timeout \\ 5_000) do
    netns = Spec.netns!(netns)
    timeout = Arguments.timeout!(timeout)
    ref = make_ref()

    with {:pending, resource} <- Native.release(netns, ref) do
      receive do
        {:nlns, ^ref, :released} -> :ok
        {:nlns, ^ref, {:error, reason}} -> {:error, reason}
      after
        timeout -> Request.cancel_after_timeout(ref, resource)
      end
    end
  end

  @doc group: "The pool"
  @doc "Releases like `release/2`, or raises `Nlns.Error`."
  @doc since: "0.1.0"
  @spec release!(netns(), timeout()) :: :ok
  def release!(netns, timeout \\ 5_000) do
    with {:error, reason} <- release(netns, timeout), do: raise(Error, reason)
  end

  @doc group: "The pool"
  @doc "Returns the pool at this moment, or `nil` when the application is not started."
  @doc since: "0.1.0"
  @spec info() :: info() | nil
  def info, do: Native.info()

  @doc group: "The pool"
  @doc """
  Returns a sentence about a reason, for a person: the step, the kernel's words, and every cause that
  this errno has at this step.

      iex> Nlns.format_error({:open, 36})
      "opening the namespace file: File name too long (ENAMETOOLONG): the path is longer than 4,095 bytes, or a part of it than 255"
  """
  @doc since: "0.1.0"
  @spec format_error(reason() | Error.reason()) :: String.t()
  defdelegate format_error(reason), to: Error, as: :format

  @doc group: "The pool"
  @doc """
  Returns a sentence about a reason like `format_error/1`, of which a second look at the namespace tells
  the cause.

      iex> Nlns.format_error({:open, 2}, "/run/nowhere/blue")
      ~S{opening the namespace file: No such file or directory (ENOENT): there is no "/run/nowhere"}

  The look takes the path, the process, what `/proc` says of the privileges of this VM, and `info/0`. It
  sees the present, which may differ from the moment of the error. Where it finds nothing, the sentence is
  that of `format_error/1`.

  The caller waits for the file system, as for any function of `File`. Call it where an error is logged or
  shown, not in a loop. For the stage `:thread` it does not look at the path, which may never answer.
  """
  @doc since: "0.1.0"
  @spec format_error(reason() | Error.reason(), netns()) :: String.t()
  defdelegate format_error(reason, netns), to: Error, as: :format
end
