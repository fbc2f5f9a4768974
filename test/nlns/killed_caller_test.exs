defmodule Nlns.KilledCallerTest do
  use Nlns.NetnsCase

  setup do
    path = netns()
    fence(path)
    %{path: path, sockets: Proc.sockets()}
  end

  test "a caller that ends right after its requests leaves no descriptor",
       %{path: path, sockets: sockets} do
    for _ <- 1..200 do
      {pid, monitor} =
        spawn_monitor(fn -> for _ <- 1..10, do: Nlns.open_in_netns_async(path, 0) end)

      assert_receive {:DOWN, ^monitor, :process, ^pid, :normal}
    end

    fence(path)
    eventually(fn -> assert Proc.sockets() == sockets end)
  end

  test "callers killed while they wait leave no descriptor", %{path: path, sockets: sockets} do
    test = self()

    for _ <- 1..20 do
      # So many before them that hardly one is answered when they are killed; one that is says so.
      crowd = for _ <- 1..500, do: Nlns.open_in_netns_async(path, 0)

      callers =
        for _ <- 1..20 do
          spawn_monitor(fn ->
            send(test, {:asking, self()})
            send(test, {:opened, Nlns.open_in_netns(path, 0, :infinity)})
          end)
        end

      for {pid, _} <- callers, do: assert_receive({:asking, ^pid})
      for {pid, _} <- callers, do: Process.exit(pid, :kill)
      for {_, monitor} <- callers, do: assert_receive({:DOWN, ^monitor, _, _, _})
      for request <- crowd, do: Nlns.cancel(request)
    end

    fence(path)
    close_opened()
    eventually(fn -> assert Proc.sockets() == sockets end)
  end

  test "callers killed at any moment leave no descriptor", %{path: path, sockets: sockets} do
    for n <- 1..500 do
      {pid, monitor} =
        spawn_monitor(fn ->
          for protocol <- Stream.cycle([0, 16, 999]) do
            request = Nlns.open_in_netns_async(path, protocol)
            receive(do: ({:nlns, ref, _} when ref == request.ref -> :ok))
          end
        end)

      for _ <- 1..(rem(n, 50) * 100)//1, do: :ok
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}
    end

    fence(path)
    eventually(fn -> assert Proc.sockets() == sockets end)
  end

  test "an answer that is never read is closed with the process", %{path: path, sockets: sockets} do
    test = self()

    {pid, monitor} =
      spawn_monitor(fn ->
        for _ <- 1..100, do: Nlns.open_in_netns_async(path, 0)
        send(test, :asked)
        receive(do: (:never -> :ok))
      end)

    assert_receive :asked
    fence(path)
    eventually(fn -> assert Proc.sockets() == sockets + 100 end)
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}
    eventually(fn -> assert Proc.sockets() == sockets end)
  end

  test "a handle sent to a process that is gone is closed", %{path: path, sockets: sockets} do
    {gone, monitor} = spawn_monitor(fn -> :ok end)
    assert_receive {:DOWN, ^monitor, :process, ^gone, :normal}

    {sender, monitor} =
      spawn_monitor(fn ->
        for _ <- 1..50, do: send(gone, handle(Nlns.open_in_netns_async(path, 0)))
      end)

    assert_receive {:DOWN, ^monitor, :process, ^sender, :normal}
    eventually(fn -> assert Proc.sockets() == sockets end)
  end

  test "a handle sent on belongs to the receiver, whatever becomes of the caller",
       %{path: path, sockets: sockets} do
    test = self()

    {pid, monitor} =
      spawn_monitor(fn -> send(test, handle(Nlns.open_in_netns_async(path, 0))) end)

    assert_receive {:DOWN, ^monitor, :process, ^pid, :normal}
    assert_receive %Handle{} = handle
    assert {:ok, fd} = Handle.to_fd(handle)
    assert "lo" in Rtnetlink.links(fd)
    Nlns.close_fd(fd)
    assert Proc.sockets() == sockets
  end

  # guides/containers.md; a compressed table keeps terms in the external format.
  @compressed_keeps? String.to_integer(System.otp_release()) >= 27

  test "a compressed table keeps no handle before OTP 27, and another does",
       %{path: path, sockets: sockets} do
    [compressed, plain] = for opts <- [[:compressed], []], do: :ets.new(:t, [:public | opts])

    for table <- [compressed, plain] do
      put = fn -> :ets.insert(table, {:handle, handle(Nlns.open_in_netns_async(path, 0))}) end
      put |> Task.async() |> Task.await()
    end

    left = if @compressed_keeps?, do: 2, else: 1
    eventually(fn -> assert Proc.sockets() == sockets + left end)

    [[handle: in_compressed], [handle: in_plain]] =
      for t <- [compressed, plain], do: :ets.lookup(t, :handle)

    if @compressed_keeps?,
      do: assert(Handle.close(in_compressed) == :ok),
      else: assert(Handle.to_fd(in_compressed) == {:error, :closed})

    assert Handle.close(in_plain) == :ok
    assert Proc.sockets() == sockets
  end

  test "a handle that is dropped closes with the garbage of a process that lives on",
       %{path: path, sockets: sockets} do
    test = self()

    pid =
      spawn_link(fn ->
        for _ <- 1..20, do: handle(Nlns.open_in_netns_async(path, 0))
        send(test, {:dropped, Proc.sockets()})
        receive(do: (:collect -> :erlang.garbage_collect()))
        send(test, :collected)
        receive(do: (:end -> :ok))
      end)

    assert_receive {:dropped, before}
    # Some may have been collected already.
    assert before <= sockets + 20
    send(pid, :collect)
    assert_receive :collected
    eventually(fn -> assert Proc.sockets() == sockets end)
    assert Process.alive?(pid)
    send(pid, :end)
  end

  defp close_opened do
    receive do
      {:opened, {:ok, fd}} -> Nlns.close_fd(fd) && close_opened()
    after
      0 -> :ok
    end
  end
end
