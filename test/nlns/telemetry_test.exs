defmodule Nlns.TelemetryTest do
  use Nlns.NetnsCase

  alias Nlns.{Recorder, Telemetry}
  alias Nlns.VM.BlockedMount

  @no_such "/run/netns/nlnstest-no-such"

  setup context do
    unless context[:absent] do
      Recorder.install()
      on_exit(&Recorder.remove/0)
    end

    :ok
  end

  test "an open has a start and a stop, in the calling process, with the time it took" do
    path = netns()
    {:ok, fd} = Nlns.open_in_netns(path, 16)
    Nlns.close_fd(fd)

    assert_received {[:nlns, :open, :start], start, metadata, caller}
    assert caller == self()
    {span, named} = Map.pop!(metadata, :telemetry_span_context)
    assert is_reference(span)
    assert named == %{netns: path, domain: 16, type: 3, protocol: 16}
    assert_in_delta start.system_time, System.system_time(), minute()

    assert_received {[:nlns, :open, :stop], stop, ended, ^caller}
    assert ended == Map.merge(metadata, %{result: :ok, stage: nil, errno: nil})
    assert stop.duration == stop.monotonic_time - start.monotonic_time
    assert stop.duration in 1..minute()
  end

  test "open and open_socket have them too, and say which process it was" do
    process = Netns.process()
    {:ok, fd} = Nlns.open_fd({:pid, process.pid}, :inet, :dgram, :udp)
    Nlns.close_fd(fd)
    {:ok, socket} = Nlns.open_socket(process.path, :inet6, :stream, :default)
    :socket.close(socket)
    Netns.kill(process)

    pid = {:pid, process.pid}
    assert_received {[:nlns, :open, :start], _, %{netns: ^pid, domain: 2, type: 2}, _}
    assert_received {[:nlns, :open, :stop], _, %{netns: ^pid, protocol: 17, result: :ok}, _}
    path = process.path
    assert_received {[:nlns, :open, :start], _, %{netns: ^path, domain: 10, type: 1}, _}
    assert_received {[:nlns, :open, :stop], _, %{netns: ^path, result: :ok}, _}
  end

  test "exchange_has_a_start_and_a_stop" do
    {path, process, dump} = {netns(), Netns.process(), Nlns.Links.dump()}
    assert {:ok, [_]} = Nlns.Netlink.execute(path, :route, dump)
    assert_received {[:nlns, :netlink, :start], _, metadata, caller}
    assert caller == self()
    assert %{netns: ^path, protocol: 0} = metadata
    assert_received {[:nlns, :netlink, :stop], %{duration: duration}, ended, ^caller}
    assert duration > 0
    assert ended == Map.merge(metadata, %{result: :ok, stage: nil, errno: nil})

    pid = {:pid, process.pid}
    assert {:error, reason} = Nlns.Netlink.execute(pid, :route, Nlns.Links.add("x", "nonesuch"))
    assert_received {[:nlns, :netlink, :start], _, %{netns: ^pid}, _}
    assert_received {[:nlns, :netlink, :stop], _, %{netns: ^pid, stage: :netlink, errno: 95}, _}
    assert {:netlink, 95, _} = reason
    Netns.kill(process)
  end

  test "a failed step is in the stop, and is no refusal" do
    assert Nlns.open_in_netns(@no_such, 0) == {:error, {:open, 2}}
    assert_received {[:nlns, :open, :start], _, _, _}
    assert_received {[:nlns, :open, :stop], _, %{result: :error, stage: :open, errno: 2}, _}
  end

  test "a timeout is in the stop as the reason that the caller gets" do
    timed_out = {:error, {:thread, 110}}
    metadata = %{netns: 17, domain: 16, type: 3, protocol: 0}
    assert Telemetry.span(:open, metadata, fn -> timed_out end) == timed_out
    assert_received {[:nlns, :open, :start], _, _, _}
    assert_received {[:nlns, :open, :stop], _, %{stage: :thread, errno: 110}, _}
  end

  test "a failure before the helper is no refusal" do
    before = Map.take(Nlns.info(), [:failed, :refused])
    long = "/" <> String.duplicate("x", 5_000)
    ended = {:pid, 2_147_483_647}

    for {netns, errno} <- [{long, 36}, {"a\0b", 22}, {ended, 2}] do
      assert Nlns.open_fd(netns, :inet, :dgram, :udp) == {:error, {:open, errno}}
      assert_received {[:nlns, :open, :start], _, %{netns: ^netns}, _}
      assert_received {[:nlns, :open, :stop], _, %{stage: :open, errno: ^errno}, _}
      request = Nlns.open_async(netns, :inet, :dgram, :udp)
      assert Nlns.await(request) == {:error, {:open, errno}}
    end

    assert Map.take(Nlns.info(), [:failed, :refused]) == %{before | failed: before.failed + 6}
    refute_messages()
  end

  @tag :absent
  test "a refusal is told where its answer is seen, once, and counted" do
    {mount, blocked} = BlockedMount.start()
    restart(max_helpers: 1)
    # Not before, or it would be told of helpers too.
    Recorder.install()
    on_exit(&Recorder.remove/0)
    path = netns()
    stuck = Nlns.open_in_netns_async(blocked, 0)
    refused = %{netns: path, stage: :thread, errno: 11}

    # Refused once the helper is seen to be stuck, which takes a second, and longer where all processors are busy.
    assert Nlns.open_in_netns(path, 0, within()) == {:error, {:thread, 11}}
    assert_received {[:nlns, :open, :start], _, _, _}
    assert_received {[:nlns, :helper, :refused], %{count: 1}, ^refused, _}
    assert_received {[:nlns, :open, :stop], _, %{stage: :thread, errno: 11}, _}

    assert Nlns.await(Nlns.open_in_netns_async(path, 0)) == {:error, {:thread, 11}}
    assert_received {[:nlns, :helper, :refused], %{count: 1}, ^refused, _}

    %Nlns.Request{ref: ref} = Nlns.open_in_netns_async(path, 0)
    assert_receive {:nlns, ^ref, {:error, {:thread, 11}}}, within()
    assert %{refused: 3, failed: 0} = Nlns.info()

    BlockedMount.stop(mount)
    assert {:error, {:open, _}} = Nlns.await(stuck, within())
    refute_messages()
  end

  @tag :absent
  test "without a pool every open is refused, and told so once" do
    Application.stop(:nlns)
    on_exit(fn -> Application.start(:nlns) end)
    # The application starts without it, as it did before.
    Recorder.install()
    on_exit(&Recorder.remove/0)
    request = Nlns.open_in_netns_async(@no_such, 0)
    refused = %{netns: @no_such, stage: :thread, errno: 108}
    assert_received {[:nlns, :helper, :refused], %{count: 1}, ^refused, _}
    assert Nlns.await(request) == {:error, {:thread, 108}}
    refute_messages()
  end

  test "an asynchronous open has no start and no stop" do
    {:ok, handle} = Nlns.await(Nlns.open_in_netns_async(netns(), 0))
    Handle.close(handle)
    refute_messages()
  end

  @tag :absent
  test "measure tells the pool's numbers once" do
    # A path is forgotten when its helper leaves, which is soon otherwise.
    restart(idle_timeout: :infinity)
    Recorder.install()
    on_exit(&Recorder.remove/0)
    path = netns()
    handle = path |> Nlns.open_in_netns_async(0) |> handle()
    assert Telemetry.measure() == :ok
    Handle.close(handle)

    assert_received {[:nlns, :pool], measurements, metadata, _}
    assert metadata == %{}
    assert Enum.all?(measurements, fn {_, value} -> is_integer(value) end)
    assert %{helpers: helpers, opened: opened, paths: 1, waiting: 0} = measurements
    assert helpers >= 1 and opened >= 1
    by_state = Map.take(measurements, [:parked, :pinned, :serving, :stuck])
    assert by_state |> Map.values() |> Enum.sum() == helpers
  end

  @tag :absent
  test "without :telemetry there are no events and all else is the same" do
    refute Code.ensure_loaded?(:telemetry)
    assert Telemetry.look_up() == nil
    {:ok, fd} = Nlns.open_in_netns(netns(), 0)
    Nlns.close_fd(fd)
    assert {:error, {:open, 36}} = Nlns.open_in_netns("/" <> String.duplicate("x", 5_000), 0)
    assert Telemetry.measure() == :ok
    assert Supervisor.which_children(supervisor()) == []
  end

  defp minute, do: System.convert_time_unit(60, :second, :native)
end
