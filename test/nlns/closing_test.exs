defmodule Nlns.ClosingTest do
  # A socket is closed when the call that closes it returns, and a process that closes waits for its own socket only.
  use Nlns.NetnsCase
  alias Nlns.Streams

  setup do
    path = netns()
    Netns.up(path, "lo")
    %{path: path, other: netns()}
  end

  test "a port is free again when the close returns, however busy the closers are", context do
    busy = spawn_link(fn -> close_packets(context.other) end)

    for _ <- 1..100 do
      {:ok, socket} = Nlns.open_socket(context.path, :inet, :dgram, :udp)
      :ok = :socket.bind(socket, %{family: :inet, addr: {127, 0, 0, 1}, port: 5_353})
      :ok = :socket.close(socket)

      {:ok, fd} = Nlns.open_fd(context.path, :inet, :dgram, :udp)
      {:ok, udp} = :gen_udp.open(5_353, fd: fd, ip: {127, 0, 0, 1})
      :ok = :gen_udp.close(udp)
      :ok = Nlns.close_fd(fd)

      {:ok, fd} = Nlns.open_fd(context.path, :inet, :stream, :tcp)
      {:ok, tcp} = :gen_tcp.listen(5_353, fd: fd, ip: {127, 0, 0, 1})
      :ok = :gen_tcp.close(tcp)
      :ok = Nlns.close_fd(fd)
    end

    Process.unlink(busy)
    send(busy, :stop)
  end

  test "a caller that closes slow sockets never has two open",
       %{path: path} do
    before = Proc.sockets()

    for n <- 1..20 do
      handle = handle(Nlns.open_async(path, :packet, :raw, 0))

      if rem(n, 2) == 0 do
        Handle.close(handle)
      else
        {:ok, fd} = Handle.to_fd(handle)
        Nlns.close_fd(fd)
      end

      assert Proc.sockets() == before
    end
  end

  test "a lingering stream delays only its own close",
       %{path: path, other: other} do
    sockets = Proc.sockets()
    {fd, ends} = lingering(path)
    {closer, monitor} = spawn_monitor(fn -> Nlns.close_fd(fd) end)
    eventually(fn -> assert %{closing: 1} = Nlns.info() end)

    for _ <- 1..3 do
      {:ok, fd} = Nlns.open_fd(other, :inet, :dgram, :udp)
      Nlns.close_fd(fd)
      assert Proc.descriptor(fd) == nil
    end

    assert Process.alive?(closer)
    # Now its data can go.
    Enum.each(ends, &:socket.close/1)
    assert_receive {:DOWN, ^monitor, :process, ^closer, :normal}, within()
    assert Proc.sockets() == sockets
  end

  # A connection with unsent data whose close(2) waits for its peer; the ends that prevent that.
  defp lingering(path) do
    {listener, address} = Streams.listener(path)
    {:ok, fd} = Nlns.open_fd(path, :inet, :stream, :tcp)
    {:ok, socket} = :socket.open(fd)
    Streams.linger(socket, address, 60)
    {:ok, peer} = :socket.accept(listener)
    Streams.fill(socket)
    :ok = :socket.close(socket)
    {fd, [peer, listener]}
  end

  defp close_packets(path) do
    for _ <- 1..20, do: Nlns.open_async(path, :packet, :raw, 0)

    for _ <- 1..20 do
      receive do
        {:nlns, _ref, {:ok, handle}} -> spawn(fn -> Handle.close(handle) end)
      end
    end

    receive do
      :stop -> :ok
    after
      50 -> close_packets(path)
    end
  end
end
