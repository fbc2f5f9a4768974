defmodule Nlns.HandleTest do
  use Nlns.NetnsCase

  setup do
    path = netns()
    inside = Netns.add_link(path)
    sockets = Proc.sockets()
    %{handle: handle(Nlns.open_in_netns_async(path, 0)), inside: inside, sockets: sockets}
  end

  test "to_fd gives the descriptor away once", %{handle: handle, inside: inside} do
    assert {:ok, fd} = Handle.to_fd(handle)
    assert Handle.to_fd(handle) == {:error, :closed}
    assert Handle.to_socket(handle) == {:error, :closed}
    # It is the caller's now.
    assert Handle.close(handle) == :ok
    assert inside in Rtnetlink.links(fd)
    Nlns.close_fd(fd)
  end

  test "of many processes that want the descriptor one gets it", %{handle: handle} do
    tasks = for _ <- 1..64, do: Task.async(fn -> Handle.to_fd(handle) end)
    answers = Task.await_many(tasks, within())
    assert [{:ok, fd}] = Enum.uniq(answers) -- [{:error, :closed}]
    assert Enum.count(answers, &match?({:ok, _}, &1)) == 1
    Nlns.close_fd(fd)
  end

  test "close closes, as often as one likes", %{handle: handle, sockets: sockets} do
    assert Proc.sockets() == sockets + 1
    for _ <- 1..3, do: assert(Handle.close(handle) == :ok)
    assert Proc.sockets() == sockets
    assert Handle.to_fd(handle) == {:error, :closed}
    assert Handle.to_socket(handle) == {:error, :closed}
  end

  test "to_socket makes a socket that sees the namespace, on a descriptor of its own",
       %{handle: handle, inside: inside, sockets: sockets} do
    assert {:ok, socket} = Handle.to_socket(handle)
    assert inside in Rtnetlink.links(socket)
    # One, not two: the original is closed.
    assert Proc.sockets() == sockets + 1

    assert Handle.to_socket(handle) == {:error, :closed}
    assert Handle.to_fd(handle) == {:error, :closed}
    assert Handle.close(handle) == :ok
    assert inside in Rtnetlink.links(socket)

    assert :socket.close(socket) == :ok
    assert Proc.sockets() == sockets
  end

  test "the socket of a process that ends is closed and leaves no descriptor",
       %{handle: handle, sockets: sockets} do
    test = self()

    {pid, monitor} =
      spawn_monitor(fn ->
        {:ok, socket} = Handle.to_socket(handle)
        send(test, {:socket, socket, Proc.sockets()})
        receive(do: (:never -> :ok))
      end)

    assert_receive {:socket, socket, during}
    assert during == sockets + 1
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}
    eventually(fn -> assert Proc.sockets() == sockets end)
    assert {:error, :closed} = :socket.send(socket, "x")
  end

  test "a hundred sockets made and closed leave no descriptor", %{
    handle: handle,
    sockets: sockets
  } do
    Handle.close(handle)
    path = netns()

    for _ <- 1..100 do
      {:ok, socket} = path |> Nlns.open_in_netns_async(0) |> handle() |> Handle.to_socket()
      :ok = :socket.close(socket)
    end

    assert Proc.sockets() == sockets
  end

  test "a handle says little about itself when it is inspected", %{handle: handle} do
    assert inspect(handle) =~ ~r/^#Nlns.Handle<#Reference<[\d.]+>>$/
    Handle.close(handle)
  end
end
