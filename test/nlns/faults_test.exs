defmodule Nlns.FaultsTest do
  # Limits that are reached, and a mount that does not answer, in VMs of their own. Each step of an
  # open that the kernel refuses, one by one: native/nlns_core/tests/faults.rs.
  use Nlns.VM

  setup do
    %{paths: for(_ <- 1..3, do: netns())}
  end

  test "without descriptors each step is answered with its errno, and all is well with them again",
       %{paths: paths} do
    vm [paths: paths], config: [idle_timeout: :infinity] do
      {:ok, modules} = :application.get_key(:nlns, :modules)
      Enum.each(modules, &Code.ensure_loaded!/1)
      [pinned, other, _] = paths
      assert open(pinned) == :ok
      assert poll(fn -> Enum.any?(Nlns.info().helpers, &(&1.state == :pinned)) end)
      {:ok, held} = Nlns.open_in_netns(pinned, 0)
      {_, 0} = System.cmd("prlimit", ["--pid", System.pid(), "--nofile=256:"])

      # Code cannot be loaded without descriptors, so all that is used below is used once before.
      {:ok, socket} = Nlns.open_socket(pinned, :inet, :dgram, :udp)
      :ok = :socket.close(socket)
      take = fn -> :file.open(~c"/dev/null", [:raw, :read]) end
      taken = Stream.repeatedly(take) |> Enum.take_while(&match?({:ok, _}, &1))
      answers = for path <- [pinned, other], do: open(path)
      process = Nlns.open_fd({:pid, String.to_integer(System.pid())}, :inet, :dgram, :udp)
      bound = Nlns.bind_netlink(held, 0)

      # With a single one an open can be done, but no adoption, which needs two for a moment.
      [{:ok, one} | rest] = taken
      :ok = :file.close(one)
      single = for path <- [pinned, other], do: open(path)
      adopted = Nlns.open_socket(pinned, :inet, :dgram, :udp)
      # What is not netlink is closed by a thread of its own, soon.
      closed? = poll(fn -> :ok == with({:ok, file} <- take.(), do: :file.close(file)) end)
      for {:ok, file} <- rest, do: :file.close(file)

      assert answers == [error: {:socket, 24}, error: {:open, 24}]
      assert process == {:error, {:open, 24}}
      assert bound == :ok

      # Before Linux 6.18 the first socket after an entry is compared, which takes another descriptor; and
      # which helper enters is not said.
      compared? = not Enum.find(Nlns.Native.features(), &(&1.name == "NS_GET_ID")).is_there
      allowed = if compared?, do: [:ok, {:error, {:socket, 24}}], else: [:ok]
      assert Enum.all?(single, &(&1 in allowed)), inspect(single)
      assert adopted == {:error, {:socket, 24}}
      assert closed?
      for path <- paths, do: assert(open(path) == :ok)
      Nlns.close_fd(held)
      assert_all_in_order()
    end
  end

  # The limit is not root's, so it takes another user; inside a user namespace the user is one already.
  @uid_map File.read!("/proc/self/uid_map")
  @user if @uid_map =~ "4294967295",
          do: ~w(setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all),
          else: []

  @unlimited @uid_map =~ ~r/^\s*0\s+0\s+1$/

  @tag skip: @unlimited && "root in a user namespace of its own has no limit"
  test "at the limit of threads those there are serve every path, and more come when there may be" do
    vm [], wrap: @user ++ ~w(unshare -Urnm), config: nil do
      own_run()
      paths = for _ <- 1..4, do: Netns.add()
      Application.put_all_env(nlns: [idle_timeout: :infinity])
      {:ok, _} = Application.ensure_all_started(:nlns)
      assert poll(fn -> Nlns.info().started == 1 end)
      limit = &System.cmd("prlimit", ["--pid", System.pid(), "--nproc=#{&1}:"])
      [_, before] = Regex.run(~r/^Max processes +(\S+)/m, File.read!("/proc/self/limits"))
      {_, 0} = limit.(1)

      # The one helper settles in each, so that there is none for the next.
      for _ <- 1..5, path <- paths, do: Nlns.Settle.settle(path)
      assert Nlns.info().started == 1
      # The programs that the VM starts have limits of their own.
      {_, 0} = limit.(before)
      Nlns.Settle.pin(paths)
      assert Nlns.info().started >= 4
      assert_all_in_order()
    end
  end

  test "without a process left a socket that is slow to close is answered with an errno, and closed",
       %{paths: [path | _]} do
    vm [path: path], erl: "+P 1024" do
      # Loads what it calls, and opens what the VM opens once.
      packet = fn -> Nlns.open_socket(path, :packet, :raw, 0) end
      {:ok, socket} = packet.()
      :ok = :socket.close(socket)
      assert poll(fn -> sockets() == 0 end)
      idle = fn -> Process.sleep(:infinity) end

      processes =
        Stream.repeatedly(fn ->
          try do
            spawn(idle)
          rescue
            SystemLimitError -> nil
          end
        end)
        |> Enum.take_while(& &1)

      answers = for _ <- 1..20, do: packet.()
      assert {:ok, udp} = Nlns.open_socket(path, :inet, :dgram, :udp)
      :ok = :socket.close(udp)
      for pid <- processes, do: Process.exit(pid, :kill)
      assert Enum.uniq(answers) == [{:error, {:socket, 11}}]
      assert poll(fn -> sockets() == 0 end)
      assert {:ok, _} = packet.()
    end
  end

  # The limits of a user namespace of its own: namespaces(7), inotify(7).
  for limit <- ~w(max_inotify_instances max_inotify_watches) do
    test "with #{limit} used up, a deleted namespace is left soon, however long idle_timeout is" do
      vm [limit: unquote(limit)], wrap: ~w(unshare -Urnm), config: nil do
        {_, 0} = System.cmd("mount", ~w(-t tmpfs none /mnt))
        File.write!("/proc/sys/user/#{limit}", "0")
        Application.put_all_env(nlns: [idle_timeout: :infinity])
        {:ok, _} = Application.ensure_all_started(:nlns)
        File.touch!("/mnt/name")
        {_, 0} = System.cmd("unshare", ~w(--net=/mnt/name true))
        assert open("/mnt/name") == :ok
        {_, 0} = System.cmd("umount", ~w(/mnt/name))
        File.rm!("/mnt/name")
        assert poll(fn -> not Enum.any?(Nlns.info().helpers, & &1.path) end)
        assert_all_in_order()
      end
    end
  end

  test "dead mounts hold up their own callers; others are served until all helpers are stuck, then refused",
       %{paths: [path | _]} do
    mounts = for _ <- 1..3, do: BlockedMount.start()

    vm =
      start_vm [path: path, blocked: for({_, blocked} <- mounts, do: blocked)],
        config: [max_helpers: 3, max_queue: 10] do
        [first, second, third] = blocked
        for dead <- [first, second], do: spawn(fn -> open(dead) end)
        assert poll(fn -> open(path) == :ok and Nlns.info().stuck == 2 end)
        for _ <- 1..100, do: assert(open(path) == :ok)
        assert Nlns.open_in_netns(first, 0, 50) == {:error, {:thread, 110}}
        releases = for _ <- 1..20, do: Nlns.release(first, 1)

        assert Enum.frequencies(releases) == %{
                 {:error, {:thread, 110}} => 10,
                 {:error, {:thread, 11}} => 10
               }

        assert Nlns.open_in_netns(first, 0, 1) == {:error, {:thread, 110}}

        spawn(fn -> open(third) end)
        assert poll(fn -> open(path) == {:error, {:thread, 11}} end)
        assert %{stuck: 3} = Nlns.info()
        IO.puts("stuck")
        assert poll(fn -> Nlns.info().stuck == 0 end)
        assert open(path) == :ok
        assert_all_in_order()
      end

    vm = await_line(vm, "stuck")
    for {mount, _} <- mounts, do: BlockedMount.stop(mount)
    finish(vm)
  end

  for place <- [:below, :itself] do
    test "a dead mount (#{place}) keeps its helper in no namespace of others", %{
      paths: [path | _]
    } do
      {mount, below} = BlockedMount.start()
      # Its attributes are asked for too, its name is not.
      blocked = if unquote(place) == :below, do: below, else: Path.dirname(below)

      vm =
        start_vm [path: path, blocked: blocked], config: [idle_timeout: :infinity] do
          # Called while it still naps where it has just served.
          assert open(path) == :ok
          spawn(fn -> open(blocked) end)
          assert poll(fn -> Nlns.info().stuck == 1 end)
          assert Nlns.release(path) == :ok
          assert netns_of(helpers()) == [netns_of("/proc/self/ns/net")]
          IO.puts("stuck")
          assert poll(fn -> Nlns.info().stuck == 0 end)
          assert_all_in_order()
        end

      unblock(vm, mount)
    end
  end

  test "a look at a dead mount holds up its own caller" do
    {mount, blocked} = BlockedMount.start()

    vm =
      start_vm [blocked: blocked], [] do
        looks = Task.async(fn -> Nlns.format_error({:setns, 22}, blocked) end)

        assert poll(fn ->
                 match?(
                   {:current_function, {:prim_file, _, _}},
                   Process.info(looks.pid, :current_function)
                 )
               end)

        # By the file server.
        assert {:ok, _} = File.read("/etc/hostname")
        IO.puts("stuck")
        assert Task.await(looks, :infinity) =~ "EINVAL"
        assert_all_in_order()
      end

    unblock(vm, mount)
  end

  test "a dead mount over a process's files is no procfs, whatever its path says", %{
    paths: [path | _]
  } do
    process = Netns.process()
    peer = Netns.add_veth_to_host(path)
    mount = BlockedMount.start_at("/proc/#{process.pid}/ns")

    vm =
      start_vm [path: path, pid: process.pid], config: [idle_timeout: :infinity] do
        assert open(path) == :ok
        spawn(fn -> open("/proc/#{pid}/ns/net") end)
        assert poll(fn -> Nlns.info().stuck == 1 end)
        assert Nlns.release(path) == :ok
        assert netns_of(helpers()) == [netns_of("/proc/self/ns/net")]
        # The process itself can be named all the same (Linux 6.11).
        if :os.version() >= {6, 11, 0} do
          {:ok, fd} = Nlns.open_fd({:pid, pid}, :inet, :dgram, :udp)
          Nlns.close_fd(fd)
        end

        IO.puts("stuck")
        assert poll(fn -> Nlns.info().stuck == 0 end)
        assert_all_in_order()
      end

    vm = await_line(vm, "stuck")
    assert Netns.gone_after_delete?(path, peer)
    BlockedMount.stop(mount)
    finish(vm)
    Netns.kill(process)
  end

  # Ends the mount once the VM is seen to be stuck in it, and waits for the VM.
  defp unblock(vm, mount) do
    vm = await_line(vm, "stuck")
    BlockedMount.stop(mount)
    finish(vm)
  end
end
