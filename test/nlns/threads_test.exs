defmodule Nlns.ThreadsTest do
  use Nlns.NetnsCase

  # Those that a thread raises by what it does, and those that nobody can block, signal(7).
  @not_blocked [:ill, :bus, :fpe, :segv, :kill, :stop]
  @numbers %{ill: 4, bus: 7, fpe: 8, kill: 9, segv: 11, stop: 19}

  test "only helpers are ever outside the VM's namespace, whatever goes on" do
    restart(idle_timeout: :infinity)
    # One sleeps where nothing is asked for, so that there is always something to be seen.
    pin([netns()])
    paths = for _ <- 1..4, do: netns()

    enough = :atomics.new(1, [])
    busy = for path <- paths, do: Task.async(fn -> open_until(enough, path, 1) end)
    seen = for _ <- 1..20, thread <- Proc.threads_outside(), uniq: true, do: thread.name
    :atomics.put(enough, 1, 1)
    Task.await_many(busy, within())
    assert seen == ["nlns-helper"]
  end

  test "a scheduler's own socket is on the host after any number of opens and errors" do
    path = netns()
    home = Rtnetlink.home_cookie()

    cookies =
      1..200
      |> Task.async_stream(
        fn n ->
          path |> open(n) |> close()
          Rtnetlink.home_cookie()
        end,
        timeout: within()
      )
      |> Enum.map(fn {:ok, cookie} -> cookie end)

    assert Enum.uniq(cookies) == [home]
  end

  test "threads of the pool have names: manager, watcher, closer, helpers" do
    restart(idle_timeout: :infinity)
    paths = for _ <- 1..3, do: netns()
    on_exit(fn -> Enum.each(paths, &Nlns.release/1) end)
    pin(paths)

    # A thread gives itself its name; until then it has that of the thread which made it.
    eventually(fn ->
      names = Enum.frequencies_by(Proc.pool_threads(), & &1.name)
      {helpers, others} = Map.pop(names, "nlns-helper")
      assert others == %{"nlns-manager" => 1, "nlns-watcher" => 1, "nlns-closer" => 1}
      assert helpers == length(Nlns.info().helpers)
    end)
  end

  test "threads of the pool take no signals but their own faults" do
    restart(idle_timeout: :infinity)
    path = netns()
    pin([path])

    # A helper may end meanwhile.
    for %{tid: tid} <- Proc.pool_threads(),
        {:ok, status} <- [File.read("/proc/self/task/#{tid}/status")] do
      [_, hex] = Regex.run(~r/^SigBlk:\s*([0-9a-f]+)$/m, status)
      mask = String.to_integer(hex, 16)
      # glibc keeps 32 and 33 for itself.
      blocked = for n <- Enum.to_list(1..31) ++ Enum.to_list(34..64), bit?(mask, n), do: n
      numbers = Enum.map(@not_blocked, &@numbers[&1])
      assert blocked == (Enum.to_list(1..31) ++ Enum.to_list(34..64)) -- numbers
    end

    Nlns.release(path)
  end

  test "no dirty scheduler is needed" do
    path = netns()

    all_of_it = fn ->
      path |> Nlns.open_in_netns_async(0) |> handle() |> Handle.close()

      for _ <- 1..10 do
        assert {:ok, fd} = Nlns.open_in_netns(path, 0)
        Nlns.bind_netlink(fd, 0)
        Nlns.close_fd(fd)
      end

      assert Nlns.release(path) == :ok
      assert %{} = Nlns.info()
    end

    # Once before, because loading code takes a dirty scheduler.
    {:module, _} = Code.ensure_loaded(:erts_debug)
    all_of_it.()

    # A machine may stand still for longer than they are taken.
    assert Enum.any?(1..3, fn _ -> done_while_dirty_schedulers_are_taken?(all_of_it) end)
  end

  # What needs one waits until they are free again.
  defp done_while_dirty_schedulers_are_taken?(fun) do
    # All of them, for longer than `fun` takes on a busy machine; the functions are OTP's own for its tests.
    hogs =
      for {kind, count} <- [
            dirty_cpu: :erlang.system_info(:dirty_cpu_schedulers),
            dirty_io: :erlang.system_info(:dirty_io_schedulers)
          ],
          _ <- 1..count do
        spawn_monitor(:erts_debug, kind, [:wait, within(2_000)])
      end

    taken? = await_running(hogs)
    {waiter, monitor} = spawn_monitor(fn -> :erts_debug.dirty_cpu(:wait, 0) end)
    fun.()
    waits? = Process.alive?(waiter)

    for {_, monitor} <- [{waiter, monitor} | hogs],
        do: assert_receive({:DOWN, ^monitor, _, _, _})

    taken? and waits?
  end

  # Whether all of them run, which takes a moment; `false` once one has ended.
  defp await_running(hogs) do
    seen = for {pid, _} <- hogs, do: Process.info(pid, [:status, :current_function])

    cond do
      Enum.all?(seen, &match?([status: :running, current_function: {:erts_debug, _, 2}], &1)) ->
        true

      nil in seen ->
        false

      true ->
        Process.sleep(5)
        await_running(hogs)
    end
  end

  test "a call into the NIF takes no longer, whatever the path does" do
    fifo = Path.join(tmp_dir(), "fifo")
    {_, 0} = System.cmd("mkfifo", [fifo])
    request = fn path -> Nlns.cancel(Nlns.open_in_netns_async(path, 0)) end
    healthy = netns()
    usual = median(fn -> request.(healthy) end)

    for path <- [fifo, "/not/there", "/proc/self/ns/uts"] do
      time = median(fn -> request.(path) end)
      assert {path, time < 20 * usual} == {path, true}
    end

    assert median(fn -> Nlns.info() end) < 20 * usual
  end

  # It waits for RCU, packet(7), some 12 ms.
  test "closing a packet socket takes the kernel its time, and no scheduler's" do
    path = netns()
    packet = fn -> handle(Nlns.open_async(path, :packet, :raw, 0)) end

    to_fd = fn ->
      {:ok, fd} = Handle.to_fd(packet.())
      fd
    end

    # The calls into the native half; what Elixir waits for is a message.
    close = fn handle -> assert Nlns.Native.close(handle.resource, make_ref()) == :pending end
    close_fd = fn fd -> assert Nlns.Native.close_fd(fd, make_ref()) == :pending end
    waiting = median(packet, &Handle.close/1, 15)
    assert median(packet, close, 15) < div(waiting, 2)
    for _ <- 1..15, do: assert_receive({:nlns, _ref, :closed})
    assert median(to_fd, close_fd, 15) < div(waiting, 2)
    for _ <- 1..15, do: assert_receive({:nlns, _ref, :closed})
  end

  test "every descriptor is close-on-exec: the pool's own, those it gives away, adopted ones" do
    # Or the new pool's descriptors have the numbers of the old one's.
    :ok = Application.stop(:nlns)
    before = descriptors()
    restart(idle_timeout: :infinity)
    process = Netns.process()
    path = netns()
    pool = descriptors() -- before

    {:ok, fd} = Nlns.open_in_netns(process.path, 0)
    {:ok, socket} = path |> Nlns.open_in_netns_async(0) |> handle() |> Handle.to_socket()
    {:ok, adopted} = :socket.getopt(socket, :otp, :fd)
    held = handle(Nlns.open_in_netns_async(path, 16))
    pin([path, process.path])

    new = descriptors() -- before
    assert fd in new and adopted in new
    assert length(new) >= length(pool) + 3
    assert Enum.reject(new, &Proc.cloexec?/1) == []

    Handle.close(held)
    :socket.close(socket)
    Nlns.close_fd(fd)
    Enum.each([path, process.path], &Nlns.release/1)
    Netns.kill(process)
  end

  test "a program started by the VM inherits no socket of nlns" do
    path = netns()
    {:ok, fd} = Nlns.open_in_netns(path, 0)
    "socket:" <> _ = mine = Proc.descriptor(fd)
    {listing, 0} = System.cmd("ls", ["-l", "/proc/self/fd"])
    refute listing =~ mine
    Nlns.close_fd(fd)
  end

  # In ns, because some calls take less than a microsecond. Not the worst: a busy machine has others do their
  # work meanwhile.
  defp median(fun), do: median(fn -> nil end, fn nil -> fun.() end, 201)

  defp median(prepare, fun, count) do
    times =
      for _ <- 1..count do
        prepared = prepare.()
        began = System.monotonic_time(:nanosecond)
        fun.(prepared)
        System.monotonic_time(:nanosecond) - began
      end

    times |> Enum.sort() |> Enum.at(div(count, 2))
  end

  defp open(path, n) do
    case rem(n, 4) do
      0 -> Nlns.open_in_netns(path, 999)
      1 -> Nlns.open_in_netns(path <> "-not", 0)
      2 -> Nlns.open_in_netns("/proc/self/ns/mnt", 0)
      3 -> Nlns.open_in_netns(path, 0)
    end
  end

  defp close({:ok, fd}), do: Nlns.close_fd(fd)
  defp close({:error, _}), do: :ok

  defp open_until(enough, path, n) do
    path |> open(n) |> close()
    if :atomics.get(enough, 1) == 0, do: open_until(enough, path, n + 1)
  end

  defp bit?(mask, n), do: Bitwise.band(mask, Bitwise.bsl(1, n - 1)) != 0

  # The VM's own pipes to its children, which come and go, are not nlns's matter.
  defp descriptors, do: for({fd, to} <- Proc.descriptors(), not (to =~ ~r/^pipe:/), do: fd)
end
