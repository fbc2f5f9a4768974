defmodule Nlns.VM.EndTest do
  # The end of the VM (promise 9): whatever its helpers do, it ends soon and in good order.
  use Nlns.VM

  # 0.1 s without nlns; the bounds are for busy machines, on which only one that hangs takes longer.
  for ending <- [:halt, :halt_without_flush], state <- [:idle, :busy, :flooded, :stuck] do
    @tag ending: ending, state: state
    test "#{ending} ends the VM while helpers are #{state}", context do
      assert_ends_within(20_000, context)
    end
  end

  # 1.3 s without nlns, because init looks every second; the application waits 2 s for stuck helpers,
  # and 10,000s of messages take their time to be sent and thrown away.
  for {state, bound} <- [idle: 20_000, busy: 20_000, flooded: 40_000, stuck: 20_000] do
    @tag ending: :stop, state: state, bound: bound
    test "stop ends the VM while helpers are #{state}", context do
      assert_ends_within(context.bound, context)
    end
  end

  for state <- [:idle, :busy] do
    @tag ending: :signal, state: state
    test "SIGTERM ends the VM while helpers are #{state}", context do
      assert_ends_within(20_000, context)
    end
  end

  # Nothing in the process can end that thread, nor its process for anybody who waits for it.
  test "halt ends all but a helper that cannot be killed, and that when its mount ends" do
    {mount, blocked} = BlockedMount.start("unkillable")
    path = netns()

    vm =
      start_vm path: path, blocked: blocked do
        bring(:stuck, [path], blocked)
        announce()
        System.halt(0)
      end

    vm = await_announced(vm)
    # The main thread is a zombie until then.
    assert Nlns.VM.Inside.poll(fn -> length(File.ls!("/proc/#{vm.pid}/task")) == 2 end)
    BlockedMount.stop(mount)
    # A flooded VM's Logger may lose its own handler on the way down, which it says.
    assert finish(vm) in ["", "Logger - error: {removed_failing_handler,'Elixir.Logger'}"]
  end

  defp assert_ends_within(ms, %{ending: ending, state: state}) do
    paths = for _ <- 1..3, do: netns()
    {_, blocked} = BlockedMount.start()
    bindings = [state: state, paths: paths, blocked: blocked, ending: ending]

    vm =
      start_vm bindings, config: [idle_timeout: :infinity, max_queue: 100_000] do
        Logger.configure(level: :error)
        bring(state, paths, blocked)
        announce()
        end_by(ending)
      end

    vm = await_announced(vm)
    from = now()
    if ending == :signal, do: signal(vm, "TERM")
    # A flooded VM's Logger may lose its own handler on the way down, which it says.
    assert finish(vm) in ["", "Logger - error: {removed_failing_handler,'Elixir.Logger'}"]
    assert now() - from < within(ms)
  end
end
