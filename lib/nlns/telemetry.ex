defmodule Nlns.Telemetry do
  @moduledoc """
  Events for `:telemetry` (0.4.2 or newer). nlns does not depend on it, and executes no event without it. Events of
  spans have `:telemetry_span_context` since its release 0.4.3, and `:monotonic_time` since 1.1.0.

  | event | measurements | metadata |
  |---|---|---|
  | `[:nlns, :open, :start]` | `:monotonic_time`, `:system_time` | `:netns`, `:domain`, `:type`, `:protocol` |
  | `[:nlns, :open, :stop]` | `:monotonic_time`, `:duration` | as of its start, and `:result`, `:stage`, `:errno` |
  | `[:nlns, :netlink, :start]` | `:monotonic_time`, `:system_time` | `:netns`, `:protocol` |
  | `[:nlns, :netlink, :stop]` | `:monotonic_time`, `:duration` | as of its start, and `:result`, `:stage`, `:errno` |
  | `[:nlns, _, :exception]` of both | `:monotonic_time`, `:duration` | as of its start, and `:kind`, `:reason`, `:stacktrace` |
  | `[:nlns, :helper, :refused]` | `:count` (1) | `:netns`, `:stage`, `:errno` |
  | `[:nlns, :helper, :pinned]` | `:count` | `:helper`, `:path` |
  | `[:nlns, :helper, :left]` | `:count`, `:duration` | `:helper`, `:path`, `:reason` |
  | `[:nlns, :pool]` | see `measure/0` | none |

    * `:netns` is a path, which may be any bytes, or `{:pid, pid}`; `tag_values/1` makes text of it.
      `:domain`, `:type` and `:protocol` are the numbers for socket(2)
    * `:result` is `:ok` or `:error`; `:stage` and `:errno` are the error's, else `nil`
    * times are in native units (`System.convert_time_unit/3`). The duration is how long the caller waited,
      the queue included, until the socket was open or the timeout ended

  Opens and exchanges are spans, as `:telemetry.span/3` makes them: the events of one have the same
  `:telemetry_span_context` in their metadata, and run in the calling process. An exception means that
  the library's code is missing. An ordinary failure is a stop with the `:result` `:error`.

  An open is `Nlns.open_in_netns/3`, `Nlns.open_fd/5` or `Nlns.open_socket/5`. The span of
  `Nlns.open_socket/5` ends before `:socket` adopts what was opened. An exchange is
  `Nlns.Netlink.execute/4`; the `:stage` of the kernel's own refusal is `:netlink`. Asynchronous requests
  and `Nlns.Netlink.stream/4` have no span: nlns does not know when their answers are read.

  A refusal is an answer of the stage `:thread` that no helper gave: the queue is full, every helper is blocked,
  or the application is not started. The function that sees it reports it: a synchronous open or exchange,
  `Nlns.await/2`, `Nlns.Netlink.stream/4`, or an asynchronous request that is refused at once. An answer that the
  caller itself receives from the mailbox is not reported. `Nlns.info/0` counts all refusals of a started application.

  A helper is pinned, for these events, when it has fallen asleep in a namespace. It is not each time that it
  goes through one to serve (`:entered` of the pool counts that). Each pinned helper has an event when it leaves:

    * `:helper` is its `id` in `Nlns.info/0`, `:path` the path or `{:pid, pid}` that led it there, `:duration` for
      how long it was there
    * `:reason` is `:idle` (idle for that long), `:gone` (the name was deleted or the process has
      ended), `:released` (`Nlns.release/2`), `:moved` (needed elsewhere), `:relieved` (another helper
      sleeps there) or `:died` (its thread has)
    * `:count` is 1, and one more for each event of the same kind that was left out before it: 1,024
      are kept for handlers that are slower than the helpers

  They run in one process of nlns. Helpers that are pinned when the application stops have no event.

  The application `:nlns` looks for `:telemetry` when it starts.

  ## Metrics

  With `:telemetry_metrics` and `:telemetry_poller`, below the application's supervisor:

      defmodule MyApp.Telemetry do
        use Supervisor
        import Telemetry.Metrics

        def start_link(_), do: Supervisor.start_link(__MODULE__, nil, name: __MODULE__)

        @impl true
        def init(nil) do
          # The name is this poller's id too, and keeps it apart from others.
          poller =
            {:telemetry_poller,
             name: :nlns_poller, period: 10_000, measurements: [{Nlns.Telemetry, :measure, []}]}

          Supervisor.init([poller], strategy: :one_for_one)
        end

        def metrics do
          span = [measurement: :duration, tags: [:result, :stage, :errno]]
          buckets = [buckets: [10, 100, 1_000, 10_000, 100_000, 1_000_000]]
          time = [unit: {:native, :microsecond}, tags: [:result], reporter_options: buckets]
          netns = [tags: [:netns, :errno], tag_values: &Nlns.Telemetry.tag_values/1]

          [
            counter("nlns.opens.total", [event_name: [:nlns, :open, :stop]] ++ span),
            distribution("nlns.open.stop.duration", time),
            counter("nlns.exchanges.total", [event_name: [:nlns, :netlink, :stop]] ++ span),
            distribution("nlns.netlink.stop.duration", time),

            # One event may stand for several, so a counter would count too few.
            sum("nlns.helper.refused.count", netns),
            sum("nlns.helper.pinned.count"),
            sum("nlns.helper.left.count", tags: [:reason]),

            # These grow from the start of :nlns on, so the reporter takes what they are.
            last_value("nlns.pool.opened"),
            last_value("nlns.pool.failed"),
            last_value("nlns.pool.refused"),

            last_value("nlns.pool.waiting"),
            last_value("nlns.pool.helpers"),
            last_value("nlns.pool.stuck"),
            last_value("nlns.pool.closing")
          ]
        end
      end

  Note: a tag `:netns` or `:path` makes a series for each namespace, for as long as the reporter runs.
  """
  @moduledoc since: "0.1.0"

  alias Nlns.Printable

  @key __MODULE__

  @eio 5
  @etimedout 110

  @doc """
  Executes one event with the numbers of `Nlns.info/0`, and how many helpers are `parked`, `pinned`, `serving` and
  `stuck`. A poller calls it periodically.
  """
  @doc since: "0.1.0"
  @spec measure() :: :ok
  def measure do
    with library when library != nil <- library(), info when info != nil <- Nlns.info() do
      library.execute([:nlns, :pool], measurements(info), %{})
    end

    :ok
  end

  @doc ~S"""
  Returns the metadata of an event with `:netns` and `:path` as text, for the option `tag_values` of
  `Telemetry.Metrics`: a reporter takes neither `{:pid, pid}` nor bytes that are no UTF-8.

  Such bytes, and characters that cannot be printed, become `\xHH`, and a backslash is doubled. So
  different names stay different.

      iex> Nlns.Telemetry.tag_values(%{netns: {:pid, 4711}, errno: 2})
      %{netns: "pid:4711", errno: 2}

      iex> Nlns.Telemetry.tag_values(%{path: <<"/run/netns/a", 0xFF>>, reason: :gone})
      %{path: "/run/netns/a\\xff", reason: :gone}
  """
  @doc since: "0.1.0"
  @spec tag_values(map()) :: map()
  def tag_values(metadata) do
    for key <- [:netns, :path], is_map_key(metadata, key), reduce: metadata do
      metadata -> Map.update!(metadata, key, &text/1)
    end
  end

  defp text({:pid, pid}), do: "pid:#{pid}"
  defp text(path), do: Printable.escape(path)

  defp measurements(info) do
    states = Enum.frequencies_by(info.helpers, & &1.state)
    by_state = Map.merge(%{parked: 0, pinned: 0, serving: 0, stuck: 0}, states)

    info
    |> Map.drop([:max_helpers, :idle_timeout, :max_queue, :max_closing])
    |> Map.put(:helpers, length(info.helpers))
    |> Map.merge(by_state)
  end

  # The library, or nil if it is not there.
  defp library, do: :persistent_term.get(@key, nil)

  # Runs `fun`, in a span if the library is there. The metadata has the namespace as Nlns.Native takes it.
  @doc false
  @spec span(:open | :netlink, map(), (() -> answer)) :: answer
        when answer: {:ok, term()} | {:error, Nlns.Netlink.reason()}
  def span(name, metadata, fun) do
    case library() do
      nil ->
        fun.()

      library ->
        metadata = Map.update!(metadata, :netns, &netns/1)

        library.span([:nlns, name], metadata, fn ->
          answer = fun.()
          {answer, Map.merge(metadata, outcome(answer))}
        end)
    end
  end

  defp outcome({:ok, _resource}), do: %{result: :ok, stage: nil, errno: nil}

  defp outcome({:error, reason}),
    do: %{result: :error, stage: elem(reason, 0), errno: elem(reason, 1)}

  # Reports an answer that is no timeout. EIO is the answer of a helper that ended with the request.
  @doc false
  @spec failed(binary() | pos_integer(), Nlns.Netlink.reason()) :: :ok
  def failed(netns, {:thread, errno}) when errno not in [@eio, @etimedout] do
    with library when library != nil <- library() do
      metadata = %{netns: netns(netns), stage: :thread, errno: errno}
      library.execute([:nlns, :helper, :refused], %{count: 1}, metadata)
    end

    :ok
  end

  def failed(_netns, _reason), do: :ok

  @doc false
  @spec helper(:pinned | :left, map(), map()) :: :ok
  def helper(event, measurements, metadata) do
    with library when library != nil <- library() do
      library.execute([:nlns, :helper, event], measurements, metadata)
    end

    :ok
  end

  defp netns(pid) when is_integer(pid), do: {:pid, pid}
  defp netns(path), do: path

  # The variable is for the compiler and dialyzer, which know no such module.
  @doc false
  @spec look_up() :: module() | nil
  def look_up do
    module = :telemetry
    is_there = Code.ensure_loaded?(module) and function_exported?(module, :span, 3)
    found = if is_there, do: module
    :persistent_term.put(@key, found)
    found
  end
end
