defmodule Nlns.Uses.GenInetTest do
  # Descriptors in OTP's older sockets, which use them as they are and leave the closing to the caller.
  use Nlns.NetnsCase

  @timeout within()
  @loopback {127, 0, 0, 1}

  setup do
    path = netns()
    Netns.up(path, "lo")
    %{path: path}
  end

  test "gen_tcp listens and connects inside, and leaves the descriptors to be closed", %{
    path: path
  } do
    [server, client] = for _ <- 1..2, do: open(path, :stream, :tcp)
    {:ok, listener} = :gen_tcp.listen(0, [:binary, fd: server, ip: @loopback, active: false])
    {:ok, port} = :inet.port(listener)

    {:ok, near} =
      :gen_tcp.connect(@loopback, port, [:binary, fd: client, active: false], @timeout)

    {:ok, far} = :gen_tcp.accept(listener, @timeout)
    assert :inet.peername(far) == :inet.sockname(near)

    :ok = :gen_tcp.send(near, "ping")
    assert :gen_tcp.recv(far, 4, @timeout) == {:ok, "ping"}
    :ok = :inet.setopts(near, active: true)
    :ok = :gen_tcp.send(far, "pong")
    assert_receive {:tcp, ^near, "pong"}

    for tcp <- [far, near, listener], do: :ok = :gen_tcp.close(tcp)
    assert close(server) and close(client)
  end

  test "gen_udp sends and receives inside, and leaves the descriptors to be closed", %{path: path} do
    fds = [server, client] = for _ <- 1..2, do: open(path, :dgram, :udp)
    {:ok, far} = :gen_udp.open(0, [:binary, fd: server, ip: @loopback, active: false])
    {:ok, port} = :inet.port(far)
    {:ok, near} = :gen_udp.open(0, [:binary, fd: client])

    :ok = :gen_udp.send(near, @loopback, port, "ping")
    assert {:ok, {@loopback, from, "ping"}} = :gen_udp.recv(far, 0, @timeout)
    :ok = :gen_udp.send(far, @loopback, from, "pong")
    assert_receive {:udp, ^near, @loopback, ^port, "pong"}

    for udp <- [far, near], do: :ok = :gen_udp.close(udp)
    assert Enum.all?(fds, &close/1)
  end

  # guides/migrating.md; a port that stays keeps the VM from halting.
  test "a stream that its peer does not read leaves no port", %{path: path} do
    [server, client] = for _ <- 1..2, do: open(path, :stream, :tcp)
    {:ok, listener} = :gen_tcp.listen(0, [:binary, fd: server, ip: @loopback, active: false])
    {:ok, port} = :inet.port(listener)
    options = [:binary, fd: client, active: false]
    {:ok, near} = :gen_tcp.connect(@loopback, port, options, @timeout)
    :ok = :gen_tcp.send(near, :binary.copy("x", 20_000_000))
    assert {:queue_size, queued} = :erlang.port_info(near, :queue_size)
    assert queued > 0

    :ok = :inet.setopts(near, linger: {true, 0})
    :ok = :gen_tcp.close(near)
    assert :erlang.port_info(near) == :undefined
    :ok = :gen_tcp.close(listener)
    assert close(server) and close(client)
  end

  defp open(path, type, protocol) do
    {:ok, fd} = Nlns.open_fd(path, :inet, type, protocol)
    fd
  end

  # Whether it was still open, and is not any more.
  defp close(fd) do
    open = Proc.descriptor(fd)
    Nlns.close_fd(fd)
    open != nil and eventually(fn -> assert Proc.descriptor(fd) != open end)
  end
end
