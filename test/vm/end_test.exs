Code.require_file("support/vm.exs", __DIR__)

defmodule Nlns.VM.EndTest do
  # The end of the VM (promise 9): whatever its helpers do, it ends soon and in good order.
  use ExUnit.Case, async: true

  import Nlns.VM
  alias Nlns.VM.{BlockedMount, Netns}

  # 0.1 s without nlns.
  for ending <- [:halt, :halt_without_flush], state <- [:idle, :busy, :flooded, :stuck] do
    @tag ending: ending, state: state
    test "#{ending} ends the VM while helpers are #{state}", context do
      assert_ends_within(2_000, context)
    end
  end

  # 1.3 s without nlns, because init looks every second; the application waits 2 s for stuck helpers.
  for state <- [:idle, :busy, :flooded, :stuck] do
    @tag ending: :stop, state: state
    test "stop ends the VM while helpers are #{state}", context do
      assert_ends_within(5_000, context)
    end
  end

  for state <- [:idle, :busy] do
    @tag ending: :signal, state: state
    test "SIGTERM ends the VM while helpers are #{state}", context do
      assert_ends_within(3_000, context)
    end
  end

  defp assert_ends_within(ms, %{ending: ending, state: state}) do
    paths = for _ <- 1..3, do: Netns.new_for_test()
    {_, blocked} = BlockedMount.start()
    bindings = [state: state, paths: paths, blocked: blocked, ending: ending]

    vm =
      start_vm bindings, config: [linger: :infinity, max_queue: 100_000] do
        Logger.configure(level: :error)
        bring(state, paths, blocked)
        IO.puts("ready")
        end_by(ending)
      end

    vm = await_line(vm, "ready")
    from = now()
    if ending == :signal, do: signal(vm, "TERM")
    assert finish(vm) == ""
    assert now() - from < ms
  end
end
