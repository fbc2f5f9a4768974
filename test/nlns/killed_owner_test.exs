defmodule Nlns.KilledOwnerTest do
  # What the owner of a `:socket` leaves when it is killed: `:socket` closes it, a closer does where that takes long.
  # `close_cost_test.exs` has the listener with many waiting connections.
  #
  # Owners keep their sockets, because one that no term refers to is closed by the next garbage collection.
  use Nlns.NetnsCase
  alias Nlns.{LongSchedule, Streams}

  # In seconds.
  @linger 4
  # Longer than anything here waits.
  @long 60
  @here %{family: :inet, addr: {127, 0, 0, 1}, port: 0}

  setup do
    path = netns()
    Netns.up(path, "lo")
    %{path: path}
  end

  test "a stream that lingers keeps neither a scheduler nor the end of its owner", %{path: path} do
    {listener, address} = Streams.listener(path)
    test = self()

    owner = fn ->
      socket = lingering(path, address, @linger)
      Process.put(:kept, socket)
      send(test, {:sent, Streams.fill(socket)})
      Process.exit(self(), :kill)
    end

    # It would be kept for the time to linger.
    assert Enum.all?(LongSchedule.times(owner), &(&1 < within(@linger * 500)))

    # And the data is sent all the same.
    assert_receive {:sent, bytes}
    {:ok, peer} = :socket.accept(listener)
    assert read(peer, 0) == bytes
  end

  test "a socket that was handed to another process stays as it is when the first owner is killed",
       %{path: path} do
    {listener, address} = Streams.listener(path)
    test = self()
    sockets = Proc.sockets()

    {first, monitor} =
      spawn_monitor(fn ->
        socket = lingering(path, address, @long)
        :ok = :socket.setopt(socket, {:otp, :controlling_process}, test)
        send(test, {:socket, socket})
        Process.sleep(:infinity)
      end)

    assert_receive {:socket, socket}
    {:ok, peer} = :socket.accept(listener)
    Process.exit(first, :kill)
    assert_receive {:DOWN, ^monitor, _, _, :killed}

    # The closer waits for `:socket` to close it, which it does not.
    eventually(fn -> assert Proc.sockets() == sockets + 2 end)
    assert :socket.getopt(socket, {:socket, :linger}) == {:ok, %{onoff: true, linger: @long}}
    assert :socket.send(socket, "there") == :ok
    assert :socket.recv(peer, 5) == {:ok, "there"}
    for open <- [socket, peer], do: :ok = :socket.close(open)
    assert Proc.sockets() == sockets
    :socket.close(listener)
  end

  test "sockets that were handed to another process keep no other close waiting", %{path: path} do
    # More than there are closers. For each the closers wait a second, which a busy machine may let pass too.
    count = 40

    assert Enum.any?(1..10, fn _ ->
             sockets = handed_over(path, count, [:inet, :dgram, :udp])
             {:ok, fd} = Nlns.open_fd(path, :inet, :dgram, :udp)
             Nlns.close_fd(fd)
             waiting = Nlns.info().closing
             for socket <- sockets, do: :ok = :socket.close(socket)
             eventually(fn -> assert Nlns.info().closing == 0 end)
             waiting == count
           end)
  end

  test "an owner of many leaves descriptors to others", %{path: path} do
    # Each of them would have a second descriptor for a second.
    assert Enum.any?(1..10, fn _ ->
             sockets = handed_over(path, 600, [:inet, :dgram, :udp])
             waiting = Nlns.info().closing
             for socket <- sockets, do: :ok = :socket.close(socket)
             eventually(fn -> assert Nlns.info().closing == 0 end)
             waiting == 512
           end)
  end

  test "a kind that is always quick to close has no second descriptor", %{path: path} do
    sockets = Proc.sockets()
    handed_over = handed_over(path, 40, [:netlink, :raw, 0])
    assert Proc.sockets() == sockets + 40
    assert Nlns.info().closing == 0
    for socket <- handed_over, do: :ok = :socket.close(socket)
  end

  test "who hears of the end of an owner can have its port at once", %{path: path} do
    for {type, protocol} <- [stream: :tcp, dgram: :udp], _ <- 1..100 do
      test = self()

      {owner, monitor} =
        spawn_monitor(fn ->
          {:ok, socket} = Nlns.open_socket(path, :inet, type, protocol)
          :ok = :socket.bind(socket, @here)
          if type == :stream, do: :ok = :socket.listen(socket)
          Process.put(:kept, socket)
          send(test, {:address, :socket.sockname(socket)})
          Process.sleep(:infinity)
        end)

      assert_receive {:address, {:ok, address}}
      Process.exit(owner, :kill)
      assert_receive {:DOWN, ^monitor, _, _, :killed}
      {:ok, socket} = Nlns.open_socket(path, :inet, type, protocol)
      assert :socket.bind(socket, address) == :ok
      :ok = :socket.close(socket)
    end
  end

  test "sockets of every kind are closed with an owner that has used them", %{path: path} do
    {listener, address} = Streams.listener(path)
    sockets = Proc.sockets()
    test = self()

    {owner, monitor} =
      spawn_monitor(fn ->
        stream = lingering(path, address, @long)
        Streams.fill(stream)
        {:ok, shared} = Nlns.open_socket(path, :inet, :dgram, :udp)
        :ok = :socket.setopt(shared, {:socket, :reuseaddr}, true)
        :ok = :socket.bind(shared, @here)
        {:ok, local} = Nlns.open_socket(path, :local, :dgram, :default)
        :ok = :socket.bind(local, %{family: :local, path: <<0, "nlns">>})
        {:ok, other} = Nlns.open_socket(path, :local, :dgram, :default)
        :ok = :socket.sendto(other, "unread", %{family: :local, path: <<0, "nlns">>})
        Process.put(:kept, [stream, shared, local, other])
        send(test, :used)
        Process.sleep(:infinity)
      end)

    assert_receive :used
    Process.exit(owner, :kill)
    assert_receive {:DOWN, ^monitor, _, _, :killed}

    eventually(fn ->
      assert Proc.sockets() == sockets
      assert Nlns.info().closing == 0
    end)

    :socket.close(listener)
  end

  defp lingering(path, address, seconds) do
    {:ok, socket} = Nlns.open_socket(path, :inet, :stream, :tcp)
    Streams.linger(socket, address, seconds)
    socket
  end

  # Sockets that may be slow to close, if their kind can be, and that another process has opened, which has died.
  defp handed_over(path, count, [domain, type, protocol]) do
    test = self()

    {_first, monitor} =
      spawn_monitor(fn ->
        for _ <- 1..count do
          {:ok, socket} = Nlns.open_socket(path, domain, type, protocol)
          if domain == :inet, do: :ok = :socket.setopt(socket, {:socket, :reuseaddr}, true)
          :ok = :socket.setopt(socket, {:otp, :controlling_process}, test)
          send(test, {:handed_over, socket})
        end
      end)

    sockets =
      for _ <- 1..count do
        assert_receive {:handed_over, socket}
        socket
      end

    assert_receive {:DOWN, ^monitor, _, _, :normal}
    sockets
  end

  defp read(socket, read) do
    case :socket.recv(socket, 0) do
      {:ok, data} -> read(socket, read + byte_size(data))
      {:error, :closed} -> read
    end
  end
end
