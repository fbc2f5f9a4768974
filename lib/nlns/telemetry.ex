defmodule Nlns.Telemetry do
  @moduledoc """
  Events for `:telemetry`, if that application is there; nlns does not depend on it, and without it
  nothing is done.

  | event | measurements | metadata |
  |---|---|---|
  | `[:nlns, :open, :start]` | `:monotonic_time`, `:system_time` | `:netns`, `:domain`, `:type`, `:protocol` |
  | `[:nlns, :open, :stop]` | `:monotonic_time`, `:duration` | as of its start, and `:result`, `:stage`, `:errno` |
  | `[:nlns, :netlink, :start]` | `:monotonic_time`, `:system_time` | `:netns`, `:protocol` |
  | `[:nlns, :netlink, :stop]` | `:monotonic_time`, `:duration` | as of its start, and `:result`, `:stage`, `:errno` |
  | `[:nlns, :helper, :refused]` | `:count` (1) | `:netns`, `:stage`, `:errno` |
  | `[:nlns, :helper, :pinned]` | `:count` | `:helper`, `:path` |
  | `[:nlns, :helper, :left]` | `:count`, `:duration` | `:helper`, `:path`, `:reason` |
  | `[:nlns, :pool]` | what `measure/0` says | none |

    * `:netns` is a path or `{:pid, pid}`; `:domain`, `:type` and `:protocol` are the numbers for socket(2)
    * `:result` is `:ok` or `:error`; `:stage` and `:errno` are the error's, else `nil`
    * times are in native units (`System.convert_time_unit/3`). The duration is what the caller waited,
      the queue included, until the socket was open or the timeout was over

  An open is `Nlns.open_in_netns/3`, `Nlns.open_fd/5` or `Nlns.open_socket/5`. Its two events run in the
  calling process. Of `Nlns.open_socket/5` they cover the open, not that `:socket` adopts what was opened: an
  error of that, and its time, are in none. Asynchronous opens have none: their answer goes to the mailbox, and when it is read
  nlns does not know.

  The events of `Nlns.Netlink.execute/4` run in the calling process too. `:stage` is `:netlink` for the kernel's
  own refusal. `Nlns.Netlink.execute_async/4` and `Nlns.Netlink.stream/4` have none, for the same reason.

  A refusal is an answer of the stage `:thread` that no helper has given: the queue is full, every helper is
  blocked, the application is not started. It is reported where it is seen: by the synchronous opens, by
  `Nlns.await/2`, and by an asynchronous open that is refused at once. What its caller receives itself from
  the mailbox is not; `Nlns.info/0` counts all but those that meet no pool.

  A helper is pinned, for these events, when it has fallen asleep in a namespace, not each time it goes
  through one to serve (that is `:entered` of the pool); and of those where it was pinned it tells when it
  has left:

    * `:helper` is its `id` in `Nlns.info/0`, `:path` what led it there, `:duration` for how long it was there
    * `:reason` is `:idle` (idle for that long), `:gone` (the name was deleted or the process has
      ended), `:released` (`Nlns.release/2`), `:moved` (needed elsewhere), `:relieved` (another helper
      sleeps there) or `:died` (its thread has)
    * `:count` is 1, and one more for each event of the same kind that was left out before it: 1,024
      are kept for handlers that are slower than the helpers

  They run in one process of nlns. There are none for the helpers that are pinned when the application stops.

  Whether there is a `:telemetry` is looked up when the application `:nlns` starts.
  """

  @key __MODULE__

  @eio 5

  @typep span :: {module(), :open | :netlink, integer(), map()}

  @doc """
  One event with the pool as it is: the numbers of `Nlns.info/0`, and how many helpers are `parked`,
  `pinned`, `serving` and `stuck`. To be called now and then, by `:telemetry_poller` for example:

      {:telemetry_poller, measurements: [{Nlns.Telemetry, :measure, []}], period: 10_000}
  """
  @spec measure() :: :ok
  def measure do
    with telemetry when telemetry != nil <- telemetry(), info when info != nil <- Nlns.info() do
      telemetry.execute([:nlns, :pool], measurements(info), %{})
    end

    :ok
  end

  defp measurements(info) do
    states = Enum.frequencies_by(info.helpers, & &1.state)
    by_state = Map.merge(%{parked: 0, pinned: 0, serving: 0, stuck: 0}, states)

    info
    |> Map.drop([:max_helpers, :idle_timeout, :max_queue])
    |> Map.put(:helpers, length(info.helpers))
    |> Map.merge(by_state)
  end

  @doc false
  @spec start(binary() | pos_integer(), integer(), integer(), integer()) :: span() | nil
  def start(place, domain, type, protocol) do
    with telemetry when telemetry != nil <- telemetry() do
      metadata = %{netns: netns(place), domain: domain, type: type, protocol: protocol}
      start(telemetry, :open, metadata)
    end
  end

  @doc false
  @spec start_netlink(binary() | pos_integer(), integer()) :: span() | nil
  def start_netlink(place, protocol) do
    with telemetry when telemetry != nil <- telemetry() do
      start(telemetry, :netlink, %{netns: netns(place), protocol: protocol})
    end
  end

  defp start(telemetry, event, metadata) do
    began = System.monotonic_time()
    times = %{monotonic_time: began, system_time: System.system_time()}
    telemetry.execute([:nlns, event, :start], times, metadata)
    {telemetry, event, began, metadata}
  end

  @doc false
  @spec stop(span(), answer) :: answer
        when answer: {:ok, term()} | {:error, Nlns.Netlink.reason()}
  def stop({telemetry, event, began, metadata}, answer) do
    ended = System.monotonic_time()
    times = %{monotonic_time: ended, duration: ended - began}
    telemetry.execute([:nlns, event, :stop], times, Map.merge(metadata, outcome(answer)))
    answer
  end

  defp outcome({:ok, _resource}), do: %{result: :ok, stage: nil, errno: nil}

  defp outcome({:error, reason}),
    do: %{result: :error, stage: elem(reason, 0), errno: elem(reason, 1)}

  # An answer that is none of a timeout. EIO is what the end of the helper that had the request answers.
  @doc false
  @spec failed(binary() | pos_integer(), Nlns.Netlink.reason()) :: :ok
  def failed(place, {:thread, errno}) when errno != @eio do
    with telemetry when telemetry != nil <- telemetry() do
      metadata = %{netns: netns(place), stage: :thread, errno: errno}
      telemetry.execute([:nlns, :helper, :refused], %{count: 1}, metadata)
    end

    :ok
  end

  def failed(_place, _reason), do: :ok

  @doc false
  @spec helper(:pinned | :left, map(), map()) :: :ok
  def helper(event, measurements, metadata) do
    with telemetry when telemetry != nil <- telemetry() do
      telemetry.execute([:nlns, :helper, event], measurements, metadata)
    end

    :ok
  end

  defp netns(pid) when is_integer(pid), do: {:pid, pid}
  defp netns(path), do: path

  defp telemetry, do: :persistent_term.get(@key, nil)

  # The variable is for the compiler and dialyzer, which know no such module.
  @doc false
  @spec look_up() :: module() | nil
  def look_up do
    module = :telemetry
    is_there = Code.ensure_loaded?(module) and function_exported?(module, :execute, 3)
    found = if is_there, do: module
    :persistent_term.put(@key, found)
    found
  end
end
