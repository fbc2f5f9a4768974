defmodule Nlns.TelemetryHelpersTest do
  # Helpers that settle and leave, as `:telemetry` is told of them; each reason, without a BEAM:
  # native/nlns_core/tests/events.rs.
  use Nlns.NetnsCase

  alias Nlns.Recorder

  @pinned [:nlns, :helper, :pinned]
  @left [:nlns, :helper, :left]

  setup do
    # Whether there is a `:telemetry` is seen at the start.
    before = Application.get_all_env(:nlns)
    on_exit(fn -> start_with(before) end)
    Recorder.install()
    on_exit(&Recorder.remove/0)
    start_with(idle_timeout: :infinity)
    %{path: netns()}
  end

  test "a helper that settles is an event, and another when it has left", %{path: path} do
    helper = settle_at(path)
    assert Nlns.release(path) == :ok
    assert_receive {@left, measurements, metadata, _}
    assert metadata == %{helper: helper, path: path, reason: :released}
    assert %{count: 1, duration: duration} = measurements
    assert duration > 0 and duration < System.convert_time_unit(60, :second, :native)

    settle_at(path)
    Netns.del(path)
    assert_receive {@left, %{count: 1}, %{path: ^path, reason: :gone}, _}
    drop_others()
  end

  test "they run in one process of the application, and in the next one when it was killed",
       %{path: path} do
    settle_at(path)
    teller = teller()
    monitor = Process.monitor(teller)
    Process.exit(teller, :kill)
    assert_receive {:DOWN, ^monitor, _, _, :killed}

    # What happens while there is nobody is told by the next, and the pool has not noticed.
    assert Nlns.release(path) == :ok
    assert_receive {@left, _, %{path: ^path, reason: :released}, next}
    assert next != teller and next == teller()
    assert Nlns.info().died == 0
    drop_others()
  end

  test "a teller that does not get on has one message to read, and tells what was kept when it does",
       %{path: path} do
    settle_at(path)
    teller = teller()
    :sys.suspend(teller)
    assert Nlns.release(path) == :ok

    for _ <- 1..5 do
      cookie_at(path)

      # It may settle meanwhile, for one event more. Events are the teller's, so that it cannot be awaited.
      Process.sleep(20)
      assert Nlns.release(path) == :ok
    end

    assert {:message_queue_len, length} = Process.info(teller, :message_queue_len)
    assert length <= 1
    refute_received {@left, _, _, _}
    :sys.resume(teller)
    assert_receive {@left, _, %{path: ^path}, ^teller}
    drop_others()
  end

  # A helper settles when it has nothing to do, which is soon.
  defp settle_at(path) do
    cookie_at(path)
    teller = teller()
    assert_receive {@pinned, %{count: 1}, %{path: ^path, helper: helper}, ^teller}
    assert helper in Enum.map(Nlns.info().helpers, & &1.id)
    helper
  end

  defp teller do
    [{Nlns.Telemetry.Helpers, teller, :worker, _}] = Supervisor.which_children(supervisor())
    teller
  end

  # What was opened has events too, and some helpers have settled unasked.
  defp drop_others do
    Recorder.remove()
    :sys.get_state(teller())
    flush()
  end

  defp flush do
    receive do
      _ -> flush()
    after
      0 -> :ok
    end
  end
end
