defmodule Nlns.Netlink.AbandonedTest do
  # Exchanges whose callers die, time out or cancel, at any moment: no socket, no message, no memory.
  use Nlns.NetnsCase

  alias Nlns.{Links, Netlink}

  setup do
    path = netns()
    for _ <- 1..20, do: Netns.add_link(path)
    # A helper that is still elsewhere has kept a socket there.
    eventually(fn -> assert Proc.threads_outside() == [] end)
    {:ok, path: path, sockets: Proc.sockets()}
  end

  test "killed_at_any_moment", %{path: path, sockets: sockets} do
    memory = memory()

    for n <- 1..400 do
      {pid, monitor} =
        spawn_monitor(fn ->
          for request <- Stream.cycle([Links.dump(), Links.add("x", "nonesuch")]),
              do: Netlink.execute(path, :route, request)
        end)

      spin(rem(n, 50))
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}, within(5_000)
    end

    assert_clean(path, sockets, memory)
  end

  test "killed_while_the_kernel_is_silent", %{path: path, sockets: sockets} do
    memory = memory()

    for _ <- 1..5 do
      {pid, monitor} =
        spawn_monitor(fn ->
          Netlink.execute(path, :fib_lookup, Links.silent(), timeout: :infinity)
        end)

      # With a socket of another protocol in the place of the one that is kept.
      eventually(fn -> assert Enum.any?(Nlns.info().helpers, &(&1.state == :serving)) end)
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}, within(5_000)
      # Nobody else is told that the caller is gone.
      eventually(fn -> assert Enum.all?(Nlns.info().helpers, &(&1.state != :serving)) end)
    end

    assert_clean(path, sockets, memory)
  end

  test "cancelled_at_any_moment_and_twice", %{path: path, sockets: sockets} do
    memory = memory()

    for n <- 1..1_000 do
      request = Netlink.execute_async(path, :route, Links.dump())
      spin(rem(n, 60))
      assert Nlns.cancel(request) == :ok
      assert {:message_queue_len, 0} = Process.info(self(), :message_queue_len)
      assert Nlns.cancel(request) == :ok
    end

    assert_clean(path, sockets, memory)
  end

  test "timed_out_at_any_moment", %{path: path, sockets: sockets} do
    memory = memory()

    for n <- 1..300 do
      case Netlink.execute(path, :route, Links.dump(), timeout: rem(n, 3)) do
        {:ok, messages} -> assert length(messages) == 41
        error -> assert error == {:error, {:thread, 110}}
      end

      assert {:message_queue_len, 0} = Process.info(self(), :message_queue_len)
    end

    assert_clean(path, sockets, memory)
  end

  test "answer_that_is_never_read_goes_with_its_process", %{path: path, sockets: sockets} do
    memory = memory()
    test = self()

    {pid, monitor} =
      spawn_monitor(fn ->
        for _ <- 1..50, do: Netlink.execute_async(path, :route, Links.dump())
        exchange(path)
        send(test, :asked)
        receive(do: (:never -> :ok))
      end)

    assert_receive :asked, within(5_000)
    # 41 links of some 1,500 bytes in each.
    assert memory() - memory > 50 * 41 * 1_000
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}, within(5_000)
    assert_clean(path, sockets, memory)
  end

  defp exchange(path), do: assert({:ok, _} = Netlink.execute(path, :route, Links.dump()))

  # Helpers that have left have closed the sockets that they kept.
  defp assert_clean(path, sockets, memory) do
    exchange(path)
    assert Nlns.release(path) == :ok

    eventually(fn ->
      assert Proc.sockets() == sockets
      # An answer has 60 kB; what is kept is less than one of them.
      assert memory() - memory < 50_000
    end)
  end

  defp memory do
    :erlang.garbage_collect()
    :erlang.memory(:binary)
  end

  defp spin(n), do: for(_ <- 1..(n * 100)//1, do: :ok)
end
