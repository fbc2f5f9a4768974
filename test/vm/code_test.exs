defmodule Nlns.VM.CodeTest do
  # The code taken away and replaced (promise 9), while 64 callers open sockets.
  #
  # NB: no `:code.load_file(Nlns.Native)` while it is not loaded: on OTP 25 that call never returns if
  # a caller has made the code server load the module at the same time, with any `@on_load` there is.
  use Nlns.VM

  setup do
    %{paths: for(_ <- 1..4, do: netns())}
  end

  test "Nlns.Native is deleted and purged in a loop, and every caller is answered", %{
    paths: paths
  } do
    vm paths: paths do
      Logger.configure(level: :none)
      hammer = hammer(paths, 64)

      for _ <- 1..50 do
        purge_native()
        assert_served()
      end

      # Those that had their answer, but not yet its descriptor, when the code went; and those that
      # called while there was none.
      answers = Map.drop(calm(hammer), [{:error, {:thread, 5}}, :no_code])
      assert Map.keys(answers) == [:ok]
      assert_all_in_order()
    end
  end

  test "a call that finds no code for a second is refused, and the next one after the purge is served",
       %{
         paths: [path | _]
       } do
    vm path: path do
      Logger.configure(level: :none)
      assert open(path) == :ok
      true = :code.delete(Nlns.Native)
      # The old code still has the library.
      assert_raise UndefinedFunctionError, fn -> Nlns.info() end
      :code.purge(Nlns.Native)
      assert open(path) == :ok
      assert_all_in_order()
    end
  end

  test "requests and handles from before a purge of Nlns.Native are closed, and say so", %{
    paths: [path | _]
  } do
    vm path: path do
      %{ref: ref} = Nlns.open_in_netns_async(path, 0)
      assert_receive {:nlns, ^ref, {:ok, kept}}
      %{ref: ref} = Nlns.open_in_netns_async(path, 0)
      assert_receive {:nlns, ^ref, {:ok, closed}}
      [awaited, cancelled] = for _ <- 1..2, do: Nlns.open_in_netns_async(path, 0)
      purge_native()
      assert Nlns.Handle.to_fd(kept) == {:error, :closed}
      assert Nlns.Handle.to_socket(kept) == {:error, :closed}
      assert Nlns.Handle.close(closed) == :ok
      assert {:ok, handle} = Nlns.await(awaited)
      assert Nlns.Handle.to_fd(handle) == {:error, :closed}
      assert Nlns.cancel(cancelled) == :ok
      # The terms are all that holds them now.
      :erlang.garbage_collect()
      assert_all_in_order()
    end
  end

  test "unused answers after a purge of Nlns.Native close", %{paths: [path | _]} do
    vm path: path do
      owners =
        for _ <- 1..10 do
          owner =
            spawn(fn -> %{} = Nlns.open_in_netns_async(path, 0) && Process.sleep(:infinity) end)

          assert poll(fn -> Process.info(owner, :message_queue_len) == {:message_queue_len, 1} end)

          owner
        end

      assert sockets() == 10
      purge_native()
      assert sockets() == 10

      for owner <- owners, do: Process.exit(owner, :kill)
      assert_all_in_order()
    end
  end

  test "owners that were watched before a purge of Nlns.Native end as others do", %{
    paths: [path | _]
  } do
    vm path: path do
      test = self()

      # Sockets that share their port: a closer has the last close of each.
      open_shared = fn ->
        {:ok, socket} = Nlns.open_socket(path, :inet, :dgram, :udp)
        :ok = :socket.setopt(socket, {:socket, :reuseaddr}, true)
        Process.put(make_ref(), socket)
        send(test, :opened)
      end

      owners =
        for _ <- 1..20 do
          spawn(fn ->
            open_shared.()
            assert_receive :again
            open_shared.()
            Process.sleep(:infinity)
          end)
        end

      for _ <- owners, do: assert_receive(:opened)
      purge_native()
      for owner <- owners, do: send(owner, :again)
      for _ <- owners, do: assert_receive(:opened)
      assert sockets() == 2 * length(owners)
      for owner <- owners, do: Process.exit(owner, :kill)
      assert poll(fn -> sockets() == 0 end)
      assert_all_in_order()
    end
  end

  test "a reload of Nlns.Native is refused in a loop, and service goes on", %{paths: paths} do
    vm paths: paths do
      Logger.configure(level: :none)
      hammer = hammer(paths, 64)

      for _ <- 1..20 do
        :code.purge(Nlns.Native)
        assert {:error, :on_load_failure} = :code.load_file(Nlns.Native)
        assert_served()
      end

      assert Map.keys(calm(hammer)) == [:ok]
      assert_all_in_order()
    end
  end

  test "every other module is reloaded in a loop, and service goes on", %{paths: paths} do
    vm paths: paths do
      hammer = hammer(paths, 64)

      for module <- library_modules() -- [Nlns.Native] do
        # Callers are in old code until their answer comes; who purges sooner kills them.
        assert poll(fn -> :code.soft_purge(module) end)
        assert {:module, ^module} = :code.load_file(module)
        assert_served()
      end

      assert Map.keys(calm(hammer)) == [:ok]
      assert_all_in_order()
    end
  end

  test "callers killed by a purge of Nlns.Open leave nothing behind", %{paths: [path | _]} do
    {mount, blocked} = BlockedMount.start()

    vm =
      start_vm path: path, blocked: blocked do
        spawn(fn -> open(blocked) end)
        callers = for _ <- 1..64, do: spawn(fn -> Nlns.open_in_netns(blocked, 0, :infinity) end)
        # With the one that is being looked up.
        assert poll(fn -> Nlns.info().waiting == 65 end)
        {:module, Nlns.Open} = :code.load_file(Nlns.Open)
        :code.purge(Nlns.Open)
        refute Enum.any?(callers, &Process.alive?/1)
        assert open(path) == :ok
        IO.puts("killed")
        assert poll(fn -> Nlns.info().waiting == 0 end)
        assert_all_in_order()
      end

    vm = await_line(vm, "killed")
    BlockedMount.stop(mount)
    finish(vm)
  end

  test "the library is replaced on disk, by rename, and service goes on", %{paths: paths} do
    app = Nlns.VM.Files.copy_app()

    vm [paths: paths, library: Path.join(app, "priv/native/libnlns.so")], app: app do
      Logger.configure(level: :none)
      hammer = hammer(paths, 64)

      for _ <- 1..15 do
        File.cp!(library, library <> ".new")
        File.rename!(library <> ".new", library)
        assert {:error, :on_load_failure} = :code.load_file(Nlns.Native)
        assert_served()
      end

      assert Map.keys(calm(hammer)) == [:ok]
      purge_native()
      assert open(hd(paths)) == :ok
      assert_all_in_order()
    end
  end
end
