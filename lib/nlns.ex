defmodule Nlns do
  @external_resource "README.md"
  @moduledoc "README.md"
             |> File.read!()
             |> String.split("<!-- moduledoc -->")
             |> Enum.fetch!(1)

  alias Nlns.{Arguments, Close, Native, Request, Spec, Telemetry}

  # linux/socket.h; both are part of the kernel's ABI.
  @af_netlink 16
  @sock_raw 3

  @eio 5
  @etimedout 110

  @typedoc """
  The step that failed: `open(2)` of the path, `setns(2)` into the namespace, `socket(2)` inside it;
  `:thread` is everything about threads and queues.
  """
  @type stage :: :open | :setns | :socket | :thread

  @typedoc "A failed step and its `errno(3)`; `format_error/1` says what to do about it."
  @type reason :: {stage, integer()}

  @typedoc """
  Which namespace: a path, the one of a process (`/proc/PID/ns/net`) or the one that `ip netns` gave a
  name (`/run/netns/NAME`).

  `{:pid, pid}` means the process that has this number when the call is made: if it ends before the
  socket is open, the answer is `{:open, 2}`, even if another process has got the number by then. (Before
  Linux 5.3, which has no pidfds, that is not proven: whoever has the number when it is served is meant.)
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

  @doc """
  Opens an `AF_NETLINK`, `SOCK_RAW`, `SOCK_CLOEXEC` socket in the network namespace that `path` names.

  `path` is a namespace file: `/run/netns/NAME`, `/proc/PID/ns/net` or a bind mount of one. `protocol`
  is one of the `NETLINK_*` numbers of netlink(7), 0 (`NETLINK_ROUTE`) for links, addresses and routes.

  The caller owns the descriptor and must close it with `close_fd/1`. To hand it to `:socket`, rather
  use `open_in_netns_async/2` and `Nlns.Handle.to_socket/1`: `:socket.open/1` duplicates what it is
  given, and an original that is not closed as well keeps the namespace alive for ever.

  Running out of `timeout` (ms, or `:infinity`) answers `{:error, {:thread, 110}}` (`ETIMEDOUT`), and
  leaves neither a descriptor nor a message behind.
  """
  @spec open_in_netns(binary(), non_neg_integer(), timeout()) ::
          {:ok, non_neg_integer()} | {:error, reason()}
  def open_in_netns(path, protocol, timeout \\ 5_000) do
    Arguments.open!(path, protocol)
    Arguments.timeout!(timeout)

    with {:ok, resource} <- open_now(path, @af_netlink, @sock_raw, protocol, timeout),
         do: take(resource)
  end

  @doc """
  Begins to open such a socket and returns at once.

  Exactly one message answers, to the calling process:

      {:nlns, ref, {:ok, %Nlns.Handle{}}}
      {:nlns, ref, {:error, {stage, errno}}}

  where `ref` is the request's. What can be refused at once, a full queue for example, arrives as that
  message too. Receive it yourself (`c:GenServer.handle_info/2`), or `await/2` it, or `cancel/1` it.
  """
  @spec open_in_netns_async(binary(), non_neg_integer()) :: Request.t()
  def open_in_netns_async(path, protocol) do
    Arguments.open!(path, protocol)
    request(path, @af_netlink, @sock_raw, protocol)
  end

  @doc """
  Opens a socket of any family, type and protocol in a namespace, close-on-exec; otherwise like
  `open_in_netns/3`.

      {:ok, fd} = Nlns.open({:name, "blue"}, :inet, :stream, :tcp)
      {:ok, tcp} = :gen_tcp.connect({127, 0, 0, 1}, 80, [:binary, active: false, fd: fd])
      :ok = :gen_tcp.close(tcp)
      :ok = Nlns.close_fd(fd)

  `:gen_tcp`, `:gen_udp` and `:gen_sctp` use such a descriptor as it is (`fd:`) and never close it: that
  is left to the caller, after theirs. A socket that is closed with its owner is what `open_socket/5`
  gives.
  """
  @spec open(netns(), domain(), type(), protocol(), timeout()) ::
          {:ok, non_neg_integer()} | {:error, reason()}
  def open(netns, domain, type, protocol, timeout \\ 5_000) do
    with {:ok, resource} <- open_any(netns, domain, type, protocol, timeout),
         do: take(resource)
  end

  @doc "Begins to open a socket of any family; otherwise like `open_in_netns_async/2`."
  @spec open_async(netns(), domain(), type(), protocol()) :: Request.t()
  def open_async(netns, domain, type, protocol) do
    request(
      Spec.netns!(netns),
      Spec.domain!(domain),
      Spec.type!(type),
      Spec.protocol!(protocol)
    )
  end

  @doc """
  Opens a socket of any family as a `t::socket.socket/0`, which the calling process owns: ready for
  `:socket.connect/2`, `:socket.bind/2`, and closed by `:socket.close/1` or with that process.

  What `:socket` itself cannot do with the descriptor is reported at the stage `:socket`.

  A `:packet` socket takes two descriptors while it is open: its last close takes the kernel milliseconds,
  and would be a scheduler's if it were left to `:socket` when the owner dies. A thread of nlns does it, soon
  after `:socket.close/1` has returned (`closing` of `info/0` counts those).
  """
  @spec open_socket(netns(), domain(), type(), protocol(), timeout()) ::
          {:ok, :socket.socket()} | {:error, reason()}
  def open_socket(netns, domain, type, protocol, timeout \\ 5_000) do
    with {:ok, resource} <- open_any(netns, domain, type, protocol, timeout),
         {:error, reason} <- Nlns.Adopt.socket(resource) do
      case reason do
        :closed -> {:error, {:thread, @eio}}
        reason -> {:error, {:socket, Nlns.Error.errno(reason)}}
      end
    end
  end

  @doc """
  Waits for the answer of a request, and answers like `open_in_netns/3`: with a descriptor that the
  caller owns, or the error. A timeout (ms) cancels the request.

  A request can be awaited once, and only by the process that made it.
  """
  @spec await(Request.t(), timeout()) :: {:ok, non_neg_integer()} | {:error, reason()}
  def await(request, timeout \\ 5_000) do
    Arguments.request!(request)
    Arguments.timeout!(timeout)
    %Request{ref: ref, place: place, resource: resource} = request

    receive do
      {:nlns, ^ref, {:ok, _handle}} -> take(resource)
      # Told when it was made.
      {:nlns, ^ref, {:error, reason}} when resource == nil -> {:error, reason}
      {:nlns, ^ref, {:error, reason}} -> failed(place, reason)
    after
      timeout -> give_up(ref, resource)
    end
  end

  @doc """
  Gives a request up: from then on no message of it arrives, and nothing of it is left open.

  An answer that is in the mailbox already is taken out of it and closed. A handle that was received
  before is spent. Only the process that made the request can cancel it.
  """
  @spec cancel(Request.t()) :: :ok
  def cancel(request) do
    Arguments.request!(request)
    cancel(request.ref, request.resource)
  end

  @doc """
  Binds a netlink socket: bind(2) with `nl_pid` 0, so that the kernel chooses a port, and the multicast
  groups of the bitmask `groups` (0 to 0xFFFFFFFF; group *n* is bit *n* - 1, netlink(7)).

  `fd` may be any netlink socket of the VM's process, also one that nlns did not open. Answers the
  errno of bind(2) otherwise: 9 (`EBADF`) for a closed one, 88 (`ENOTSOCK`) for a file.
  """
  @spec bind_netlink(non_neg_integer(), non_neg_integer()) :: :ok | {:error, integer()}
  def bind_netlink(fd, groups) do
    Arguments.fd!(fd)
    Arguments.groups!(groups)
    Native.bind_netlink(fd, groups)
  end

  @doc """
  Closes a descriptor that `open_in_netns/3`, `await/2` or `Nlns.Handle.to_fd/1` returned, if the
  number still names that socket.

  It is closed when this returns, for as long as close(2) takes: a few microseconds for most, milliseconds
  for a `:packet` socket, up to its time for a stream with `SO_LINGER` (socket(7)). Then only the caller
  waits, not its scheduler; for others too while 16 such closes are under way. (With the application
  stopped there is nobody to wait: the scheduler closes, and nothing lingers.) A second call, or one with a number that names something else by now, closes
  nothing. A closed number belongs to nobody: the next descriptor of the process may get it.
  """
  @spec close_fd(non_neg_integer()) :: :ok
  def close_fd(fd) do
    Arguments.fd!(fd)
    Close.fd(fd)
  end

  @doc """
  Makes every helper leave the namespace that this path led it to, after serving the requests that wait
  for it. `:ok` once none is there, also if none was.

  `{:name, name}` is the path `/run/netns/NAME` here and `{:pid, pid}` is `/proc/PID/ns/net`, whatever process
  that is. Who came by another path to the same namespace stays.

  Use it before deleting a namespace when `idle_timeout` must not delay its end. A helper that does not get
  to it within `timeout` ms (it is blocked in the kernel) answers `{:error, {:thread, 110}}`, or
  `{:error, {:thread, 108}}` if the application is stopped meanwhile. As many releases of a path may wait as
  requests (`max_queue`); one more answers `{:error, {:thread, 11}}`.
  """
  @spec release(netns(), timeout()) :: :ok | {:error, reason()}
  def release(netns, timeout \\ 5_000) do
    path = Spec.path!(netns)
    Arguments.timeout!(timeout)
    ref = make_ref()

    with {:pending, resource} <- Native.release(path, ref) do
      receive do
        {:nlns, ^ref, :released} -> :ok
        {:nlns, ^ref, {:error, reason}} -> {:error, reason}
      after
        timeout -> give_up(ref, resource)
      end
    end
  end

  @doc """
  The pool at this moment.

    * `max_helpers`, `idle_timeout` (ms), `max_queue`: the configuration
    * `helpers`: a map per helper thread: `id`, `state` (`:parked` in no namespace, `:pinned` in one and
      idle, `:serving`, or `:stuck`: serving one batch for over a second, so it must be blocked in the
      kernel), `path` and `pinned_ms` (where it is and for how long; `nil` if in no namespace), `served`
      (sockets it opened)
    * `stuck`: how many of them are
    * `paths`: paths that have requests or a helper, or had until lately; `waiting`: requests in all their queues;
      `closing`: descriptors that are being closed, where that takes time
    * since the start, each answer once: `opened` (sockets), `failed` (answered with a step's errno, or
      `{:thread, 5}`), `refused` (any other answer of the stage `:thread`: the queue is full, no helper is
      to be had), `cancelled` (given up, by a timeout too, before they were served)
    * since the start: `entered` (times a helper entered a namespace), `woken` (times a request woke a
      sleeping helper), `started` (threads), `died` (threads, of a panic)

  `nil` when the application is not started.
  """
  @spec info() :: map() | nil
  def info, do: Native.info()

  @doc """
  A sentence about a reason, for a person: the step, the kernel's words, and what is probably missing.

      iex> Nlns.format_error({:open, 2})
      "opening the namespace file: No such file or directory (ENOENT): nothing has this path, or the process behind it has ended"
  """
  @spec format_error(reason()) :: String.t()
  defdelegate format_error(reason), to: Nlns.Error, as: :format

  defp open_any(netns, domain, type, protocol, timeout) do
    Arguments.timeout!(timeout)

    open_now(
      Spec.netns!(netns),
      Spec.domain!(domain),
      Spec.type!(type),
      Spec.protocol!(protocol),
      timeout
    )
  end

  defp open_now(place, domain, type, protocol, timeout) do
    case Telemetry.start(place, domain, type, protocol) do
      nil -> ask(place, domain, type, protocol, timeout)
      span -> Telemetry.stop(span, ask(place, domain, type, protocol, timeout))
    end
  end

  # The reference, the call that gives it away and a receive of nothing but it, all in one function:
  # only so does the VM know that older messages need not be looked at.
  defp ask(place, domain, type, protocol, timeout) do
    ref = make_ref()

    case Native.open(place, domain, type, protocol, ref) do
      {:ok, resource} ->
        receive do
          {:nlns, ^ref, :ok} -> {:ok, resource}
          {:nlns, ^ref, {:error, reason}} -> failed(place, reason)
        after
          timeout -> give_up(ref, resource)
        end

      {:error, reason} ->
        failed(place, reason)
    end
  end

  defp request(place, domain, type, protocol) do
    ref = make_ref()

    case Native.open_handle(place, domain, type, protocol, ref) do
      {:ok, resource} ->
        %Request{ref: ref, owner: self(), place: place, resource: resource}

      {:error, reason} ->
        send(self(), {:nlns, ref, failed(place, reason)})
        %Request{ref: ref, owner: self(), place: place, resource: nil}
    end
  end

  defp failed(place, reason) do
    Telemetry.failed(place, reason)
    {:error, reason}
  end

  # Only the caller has this resource, so there is no other cause than that `Nlns.Native` was purged.
  defp take(resource) do
    with {:error, :closed} <- Native.take(resource), do: {:error, {:thread, @eio}}
  end

  defp give_up(ref, resource) do
    cancel(ref, resource)
    {:error, {:thread, @etimedout}}
  end

  # Refused at once: the message was sent before the request was returned.
  defp cancel(ref, nil), do: flush(ref)

  defp cancel(ref, resource) do
    case Native.cancel(resource) do
      :before -> :ok
      :during -> await_sent(ref, resource)
      :after -> flush(ref)
    end
  end

  # The helper is between deciding to answer and having sent the message.
  defp await_sent(ref, resource) do
    receive do
      {:nlns, ^ref, _} -> :ok
    after
      1 -> if Native.is_sent(resource), do: flush(ref), else: await_sent(ref, resource)
    end
  end

  defp flush(ref) do
    receive do
      {:nlns, ^ref, _} -> :ok
    after
      0 -> :ok
    end
  end
end
