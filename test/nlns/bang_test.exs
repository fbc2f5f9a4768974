defmodule Nlns.BangTest do
  use Nlns.NetnsCase

  alias Nlns.Error

  setup do
    %{path: netns()}
  end

  test "each function that can fail returns its value, without the ok", %{path: path} do
    fd = Nlns.open_in_netns!(path, 0)
    assert Nlns.bind_netlink!(fd, 0) == :ok
    assert Nlns.close_fd(fd) == :ok

    fd = Nlns.open_fd!(path, :inet, :dgram, :udp)
    assert Nlns.close_fd(fd) == :ok

    socket = Nlns.open_socket!(path, :netlink, :raw, 0)
    assert Nlns.bind_netlink!(socket, 0) == :ok
    assert :socket.close(socket) == :ok

    socket = path |> Nlns.open_in_netns_async(0) |> Nlns.await!() |> Handle.to_socket!()
    assert :socket.close(socket) == :ok

    fd = path |> Nlns.open_async(:inet, :stream, :tcp) |> Nlns.await!(within()) |> Handle.to_fd!()
    assert Nlns.close_fd(fd) == :ok
    assert Nlns.release!(path) == :ok
  end

  test "a failure is an exception with stage, errno and posix atom", %{path: path} do
    gone = path <> "-gone"

    for call <- [
          fn -> Nlns.open_in_netns!(gone, 0) end,
          fn -> Nlns.open_in_netns!(gone, 0, within()) end,
          fn -> Nlns.open_fd!(gone, :inet, :dgram, :udp) end,
          fn -> Nlns.open_socket!(gone, :inet, :dgram, :udp, timeout: within()) end,
          fn -> Nlns.await!(Nlns.open_in_netns_async(gone, 0)) end,
          fn -> Nlns.await!(Nlns.open_in_netns_async(gone, 0), within()) end
        ] do
      error = assert_raise Error, call
      assert error == %Error{stage: :open, errno: 2, reason: :enoent}
      assert Exception.message(error) == Nlns.format_error({:open, 2})
    end
  end

  test "a bind and a spent handle have stages of their own", %{path: path} do
    {:ok, bound} = Nlns.open_in_netns(path, 0)
    :ok = Nlns.bind_netlink(bound, 0)

    for {fd, errno, reason} <- [{-1, 9, :ebadf}, {bound, 22, :einval}] do
      error = assert_raise Error, fn -> Nlns.bind_netlink!(fd, 0) end
      assert error == %Error{stage: :bind, errno: errno, reason: reason}
      assert Exception.message(error) =~ ~r/^binding the socket: /
    end

    Nlns.close_fd(bound)
    handle = path |> Nlns.open_in_netns_async(0) |> Nlns.await!()
    :ok = Handle.close(handle)

    for call <- [&Handle.to_fd!/1, &Handle.to_socket!/1] do
      error = assert_raise Error, fn -> call.(handle) end
      assert error == %Error{stage: :handle, errno: 9, reason: :ebadf}
      assert Exception.message(error) =~ "taken or closed before"
    end
  end
end
