defmodule Nlns.VM.ApplicationTest do
  # The application's stop and start (promise 9): no thread and no namespace outlives the stop.
  use Nlns.VM

  @pinned [config: [idle_timeout: :infinity]]

  test "after the stop no thread of the pool is left, and a start serves again" do
    paths = for _ <- 1..8, do: netns()

    vm [paths: paths], @pinned do
      Logger.configure(level: :error)

      for _ <- 1..20 do
        for path <- paths, do: assert(open(path) == :ok)
        assert helpers() != []
        assert Application.stop(:nlns) == :ok
        assert pool_threads() == []
        assert Nlns.info() == nil
        assert open(hd(paths)) == {:error, {:thread, 108}}
        assert Nlns.release(hd(paths)) == :ok
        assert Application.start(:nlns) == :ok
      end

      assert_all_in_order()
    end
  end

  test "after the stop no namespace is held, whatever the helpers did" do
    pinned = netns()
    busy = netns()
    peers = [pinned: Netns.add_veth_to_host(pinned), busy: Netns.add_veth_to_host(busy)]

    vm [pinned: pinned, busy: busy, peers: peers], @pinned do
      Logger.configure(level: :error)
      assert open(pinned) == :ok
      hammer = hammer([busy], 64)
      assert poll(fn -> Nlns.info().opened > 1_000 end)
      assert Application.stop(:nlns) == :ok
      assert pool_threads() == []
      assert Netns.gone_after_delete?(pinned, peers[:pinned])
      assert Netns.gone_after_delete?(busy, peers[:busy])
      answers = calm(hammer)
      assert Enum.sort(Map.keys(answers)) == [:ok, {:error, {:thread, 108}}]
    end
  end

  test "requests in flight at the stop get one answer each, a socket or ESHUTDOWN" do
    paths = for _ <- 1..4, do: netns()

    vm [paths: paths], config: [idle_timeout: :infinity, max_queue: 100_000] do
      Logger.configure(level: :error)
      path_of = fn n -> Enum.at(paths, rem(n, 4)) end
      # Few enough for the limit of descriptors, all of them in the mailbox at once.
      requests = for n <- 1..400, do: Nlns.open_in_netns_async(path_of.(n), 0)
      stop = Task.async(fn -> Application.stop(:nlns) end)
      late = for n <- 1..400, do: Nlns.open_in_netns_async(path_of.(n), 0)

      for %{ref: ref} <- requests ++ late do
        assert_receive {:nlns, ^ref, answer}, within()

        case answer do
          {:ok, handle} -> assert Nlns.Handle.close(handle) == :ok
          {:error, reason} -> assert reason == {:thread, 108}
        end
      end

      assert Task.await(stop, within()) == :ok
      assert pool_threads() == []
      refute_receive {:nlns, _, _}, 20
      assert poll(fn -> sockets() == 0 end)
    end
  end

  test "stopped and started in a loop while 64 callers hammer, every answer is one of two" do
    paths = for _ <- 1..4, do: netns()

    vm [paths: paths], @pinned do
      Logger.configure(level: :error)
      hammer = hammer(paths, 64)

      for _ <- 1..30 do
        assert Application.stop(:nlns) == :ok
        assert pool_threads() == []
        assert Application.start(:nlns) == :ok
        assert poll(fn -> Nlns.info().opened > 10 end)
      end

      answers = calm(hammer)
      assert Map.keys(answers) -- [:ok, {:error, {:thread, 108}}] == []
      assert answers.ok > 300
      assert_all_in_order()
    end
  end

  test "a release that waits is answered when the application stops" do
    path = netns()

    vm [path: path], @pinned do
      Logger.configure(level: :error)

      for _ <- 1..30 do
        assert open(path) == :ok
        release = Task.async(fn -> Nlns.release(path) end)
        assert Application.stop(:nlns) == :ok
        assert Task.await(release, within()) == :ok
        assert Application.start(:nlns) == :ok
      end
    end
  end

  test "a stop waits 2 s for a helper that cannot even be killed, says so, and a start serves" do
    path = netns()
    {mount, blocked} = BlockedMount.start("unkillable")

    vm =
      start_vm [path: path, blocked: blocked], @pinned do
        bring(:stuck, [path], blocked)
        waiting = for _ <- 1..3, do: Nlns.open_in_netns_async(blocked, 0)
        {time, :ok} = :timer.tc(fn -> Application.stop(:nlns) end)
        assert time < 1_000 * within()
        assert [stuck] = pool_threads()
        for %{ref: ref} <- waiting, do: assert_receive({:nlns, ^ref, {:error, {:thread, 108}}})
        assert Application.start(:nlns) == :ok
        assert open(path) == :ok
        IO.puts("stopped")
        assert poll(fn -> stuck not in pool_threads() end)
        assert_all_in_order()
      end

    vm = await_line(vm, "stopped")
    BlockedMount.stop(mount)
    assert finish(vm) =~ "1 thread(s) are blocked in the kernel"
  end

  test "an application that is killed, not stopped, leaves nothing once it is started again" do
    paths = for _ <- 1..4, do: netns()

    vm [paths: paths], @pinned do
      Logger.configure(level: :none)
      hammer = hammer(paths, 16)

      for _ <- 1..10 do
        master = :application_controller.get_master(:nlns)
        Process.exit(master, :kill)
        assert poll(fn -> :application_controller.get_master(:nlns) == :undefined end)
        assert Application.start(:nlns) == :ok
      end

      answers = calm(hammer)
      assert Map.keys(answers) -- [:ok, {:error, {:thread, 108}}] == []
      # Those of the pools before it are on their way out.
      assert poll(fn -> length(helpers()) == length(Nlns.info().helpers) end)
      assert_all_in_order()
      assert Application.stop(:nlns) == :ok
      # Its own are gone; those of the pools before it have nobody who waits for them.
      assert poll(fn -> pool_threads() == [] end)
    end
  end
end
