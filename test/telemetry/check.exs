# Run by scripts/test-telemetry: the definitions in the documentation of Nlns.Telemetry, as printed there, with
# the real libraries, and a reporter that does what reporters do with them.

Application.put_env(:nlns, :idle_timeout, 50)
{:ok, _} = Application.ensure_all_started(:telemetry_poller)
{:ok, _} = Application.ensure_all_started(:nlns)

Logger.configure(level: :warning)
ExUnit.start()

defmodule Reporter do
  # Telemetry.Metrics: keep, measurement, tag_values and tags, in this order.
  def attach(metrics) do
    table = :ets.new(:reporter, [:public, :duplicate_bag])

    for {metric, n} <- Enum.with_index(metrics) do
      :ok =
        :telemetry.attach(
          {__MODULE__, n},
          metric.event_name,
          &__MODULE__.handle/4,
          {table, metric}
        )
    end

    table
  end

  def handle(_event, measurements, metadata, {table, metric}) do
    value =
      if is_function(metric.measurement),
        do: metric.measurement.(measurements),
        else: measurements[metric.measurement]

    tags = metadata |> metric.tag_values.() |> Map.take(metric.tags)
    # As labels of Prometheus, for example.
    labels = for {tag, value} <- tags, do: {tag, to_string(value)}
    # A counter counts events, whatever they measure.
    value = if is_struct(metric, Telemetry.Metrics.Counter), do: 1, else: value
    :ets.insert(table, {name(metric), labels, value})
  end

  def name(metric), do: Enum.join(metric.name, ".")

  def sum(table, name, labels \\ []) do
    for({^name, found, value} <- :ets.tab2list(table), labels -- found == [], do: value)
    |> Enum.sum()
  end

  def count(table, name, labels \\ []) do
    Enum.count(:ets.tab2list(table), fn {found, with, _} ->
      found == name and labels -- with == []
    end)
  end

  def labels(table),
    do: for({_, labels, _} <- :ets.tab2list(table), {_, text} <- labels, do: text)
end

defmodule TelemetryCheck do
  use ExUnit.Case

  setup_all do
    {:docs_v1, _, _, _, %{"en" => doc}, _, _} = Code.fetch_docs(Nlns.Telemetry)
    [_, code] = Regex.run(~r/^(    defmodule MyApp.Telemetry do\n.*?^    end\n)/ms, doc)
    Code.compile_string(code)
    metrics = apply(MyApp.Telemetry, :metrics, [])
    %{metrics: metrics, table: Reporter.attach(metrics)}
  end

  test "each definition is of an event and a measurement that there are, under a name of its own",
       %{metrics: metrics, table: table} do
    names = Enum.map(metrics, &Reporter.name/1)
    assert names == Enum.uniq(names)

    events = metrics |> Enum.map(& &1.event_name) |> Enum.uniq()
    :ok = :telemetry.attach_many(:all, events, &__MODULE__.tell/4, self())
    use_all(table)

    seen =
      for event <- events, into: %{} do
        assert_receive {^event, measurements, metadata}, 5_000
        {event, {measurements, metadata}}
      end

    for metric <- metrics do
      {measurements, metadata} = seen[metric.event_name]
      # A function converts the unit, of the measurement that it is given.
      if is_atom(metric.measurement), do: assert(is_map_key(measurements, metric.measurement))

      for tag <- metric.tags,
          do: assert(is_map_key(metadata, tag), "#{Reporter.name(metric)}: #{tag}")
    end

    :telemetry.detach(:all)
  end

  test "counts are right, and every tag is text", %{table: table} do
    before = fn name, labels -> Reporter.count(table, name, labels) end
    ok = before.("nlns.opens.total", result: "ok")
    missing = before.("nlns.opens.total", stage: "open", errno: "2")
    refused = Reporter.sum(table, "nlns.helper.refused.count")

    use_all(table)

    assert Reporter.count(table, "nlns.opens.total", result: "ok") == ok + 2
    assert Reporter.count(table, "nlns.opens.total", stage: "open", errno: "2") == missing + 2
    assert Reporter.sum(table, "nlns.helper.refused.count") == refused + 2
    assert Reporter.sum(table, "nlns.helper.refused.count", netns: "pid:1", errno: "108") >= 1
    assert Reporter.sum(table, "nlns.helper.refused.count", netns: "/x/\\xff") >= 1
    for text <- Reporter.labels(table), do: assert(String.valid?(text))
  end

  test "an event that stands for several is counted as several", %{table: table} do
    before = Reporter.sum(table, "nlns.helper.left.count", reason: "gone")
    metadata = %{helper: 1, path: "/x", reason: :gone}
    Nlns.Telemetry.helper(:left, %{count: 5, duration: 1}, metadata)
    assert Reporter.sum(table, "nlns.helper.left.count", reason: "gone") == before + 5
  end

  test "a span's events have one context, and two spans two" do
    :ok =
      :telemetry.attach_many(
        :spans,
        for(e <- [:start, :stop], do: [:nlns, :open, e]),
        &__MODULE__.tell/4,
        self()
      )

    for _ <- 1..2, do: Nlns.open_in_netns("/nowhere", 0)

    contexts =
      for _ <- 1..2 do
        assert_receive {[:nlns, :open, :start], %{system_time: _},
                        %{telemetry_span_context: context}}

        assert_receive {[:nlns, :open, :stop], %{duration: _},
                        %{telemetry_span_context: ^context}}

        context
      end

    assert [one, other] = contexts
    assert one != other
    :telemetry.detach(:spans)
  end

  test "the poller runs beside others and measures", %{table: table} do
    children = [
      {:telemetry_poller, period: 10_000, measurements: []},
      MyApp.Telemetry
    ]

    {:ok, supervisor} = Supervisor.start_link(children, strategy: :one_for_one)
    assert is_pid(Process.whereis(:nlns_poller))
    # The library's own, that its application starts, is there too.
    assert is_pid(Process.whereis(:telemetry_poller_default))
    eventually(fn -> Reporter.count(table, "nlns.pool.opened") > 0 end)
    Supervisor.stop(supervisor)
  end

  def tell(event, measurements, metadata, to), do: send(to, {event, measurements, metadata})

  # Each event once, at least.
  defp use_all(table) do
    [pinned, left] =
      for event <- ~w(pinned left), do: Reporter.count(table, "nlns.helper.#{event}.count")

    {:ok, fd} = Nlns.open_fd({:pid, String.to_integer(System.pid())}, :inet, :dgram, :udp)
    Nlns.close_fd(fd)

    for netns <- ["/nowhere", {:pid, 2_147_483_647}],
        do: {:error, {:open, 2}} = Nlns.open_fd(netns, :inet, :dgram, :udp)

    lo = %Nlns.Netlink.Message{type: 18, flags: :dump, payload: <<0::128>>}
    {:ok, _} = Nlns.Netlink.execute("/proc/self/ns/net", :route, lo)
    {:ok, port, path} = process()
    {:ok, fd} = Nlns.open_in_netns(path, 0)
    Nlns.close_fd(fd)
    # Asleep there, and gone with it.
    eventually(fn -> Reporter.count(table, "nlns.helper.pinned.count") > pinned end)
    :ok = Nlns.release(path)
    # Before the process that tells it is stopped.
    eventually(fn -> Reporter.count(table, "nlns.helper.left.count") > left end)
    Port.close(port)
    :ok = Nlns.Telemetry.measure()
    :ok = Application.stop(:nlns)

    for netns <- [{:pid, 1}, <<"/x/", 0xFF>>],
        do: {:error, {:thread, 108}} = Nlns.open_fd(netns, :inet, :dgram, :udp)

    :ok = Application.start(:nlns)
  end

  # A process in a namespace of its own, for as long as the port is open.
  defp process do
    unshare = System.find_executable("unshare")

    port =
      Port.open({:spawn_executable, unshare}, [
        :binary,
        args: ["--net", "sh", "-c", "echo ready && exec cat"]
      ])

    assert_receive {^port, {:data, "ready\n"}}, 5_000
    {:os_pid, pid} = Port.info(port, :os_pid)
    {:ok, port, "/proc/#{pid}/ns/net"}
  end

  defp eventually(fun, tries \\ 1_000) do
    cond do
      fun.() -> :ok
      tries == 0 -> flunk("it never became true")
      true -> Process.sleep(5) && eventually(fun, tries - 1)
    end
  end
end
