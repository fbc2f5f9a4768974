defmodule Nlns.BindNetlinkTest do
  use Nlns.NetnsCase

  # Group RTNLGRP_LINK is bit 0 of the mask, rtnetlink(7).
  @link 1
  @ebadf 9
  @einval 22
  @enotsock 88

  setup do
    path = netns()
    {:ok, fd} = Nlns.open_in_netns(path, 0)
    on_exit(fn -> Nlns.close_fd(fd) end)
    %{path: path, fd: fd}
  end

  test "a bound socket has the groups, and a port that the kernel chose", %{fd: fd} do
    assert Rtnetlink.name(fd) == {0, 0}
    assert Nlns.bind_netlink(fd, 0) == :ok
    assert {port, 0} = Rtnetlink.name(fd)
    assert port > 0
  end

  test "all 32 groups of the mask arrive", %{path: path} do
    # NETLINK_USERSOCK takes any group.
    {:ok, fd} = Nlns.open_in_netns(path, 2)
    assert Nlns.bind_netlink(fd, 0xFFFF_FFFF) == :ok
    assert {_, 0xFFFF_FFFF} = Rtnetlink.name(fd)
    Nlns.close_fd(fd)
  end

  test "a socket in the group receives what happens in its namespace, and nothing of the host",
       %{path: path, fd: fd} do
    assert Nlns.bind_netlink(fd, @link) == :ok

    Rtnetlink.borrow(fd, fn socket ->
      outside = host_link()
      inside = Netns.add_link(path)
      names = names_until(socket, inside)
      assert inside in names
      refute outside in names
    end)
  end

  test "a socket in no group receives nothing", %{path: path, fd: fd} do
    assert Nlns.bind_netlink(fd, 0) == :ok

    Rtnetlink.borrow(fd, fn socket ->
      Netns.add_link(path)
      assert {:error, :timeout} = :socket.recv(socket, 0, 0)
    end)
  end

  test "a socket that has a port, by a bind or by sending, is not bound again", %{
    path: path,
    fd: fd
  } do
    assert Nlns.bind_netlink(fd, 0) == :ok
    name = Rtnetlink.name(fd)
    assert Nlns.bind_netlink(fd, @link) == {:error, @einval}
    assert Rtnetlink.name(fd) == name

    {:ok, sent} = Nlns.open_in_netns(path, 0)
    assert "lo" in Rtnetlink.links(sent)
    assert Nlns.bind_netlink(sent, @link) == {:error, @einval}
    Nlns.close_fd(sent)
  end

  test "a descriptor that :socket owns can be bound, in a namespace and on the host", %{
    path: path
  } do
    {:ok, inside} = path |> Nlns.open_in_netns_async(0) |> handle() |> Handle.to_socket()
    {:ok, outside} = :socket.open(16, :raw, 0)

    for socket <- [inside, outside] do
      {:ok, fd} = :socket.getopt(socket, :otp, :fd)
      assert Nlns.bind_netlink(fd, @link) == :ok
      assert {port, @link} = Rtnetlink.name(fd)
      assert port > 0
    end

    added = Netns.add_link(path)
    assert added in names_until(inside, added)
    Enum.each([inside, outside], &:socket.close/1)
  end

  test "a closed descriptor is EBADF", %{path: path} do
    {:ok, fd} = Nlns.open_in_netns(path, 0)
    Nlns.close_fd(fd)
    assert Nlns.bind_netlink(fd, 0) == {:error, @ebadf}
    assert Nlns.bind_netlink(2_147_483_647, 0) == {:error, @ebadf}
  end

  test "a :socket is bound as its descriptor is, and a closed one is EBADF" do
    {:ok, socket} = Nlns.open_socket(netns(), :netlink, :raw, 0)
    assert Nlns.bind_netlink(socket, @link) == :ok
    assert Nlns.bind_netlink(socket, @link) == {:error, @einval}
    :ok = :socket.close(socket)
    assert Nlns.bind_netlink(socket, @link) == {:error, @ebadf}
  end

  test "a file is ENOTSOCK, another family's socket EINVAL" do
    path = Path.join(tmp_dir(), "file")
    {:ok, file} = :file.open(path, [:write, :raw])
    assert Nlns.bind_netlink(Proc.descriptor_of(path), 0) == {:error, @enotsock}
    :ok = :file.close(file)

    {:ok, socket} = :socket.open(:inet, :dgram)
    {:ok, fd} = :socket.getopt(socket, :otp, :fd)
    assert {:error, errno} = Nlns.bind_netlink(fd, 0)
    # EAFNOSUPPORT where the kernel looks at the family first
    assert errno in [@einval, 97]
    :socket.close(socket)
  end

  defp names_until(socket, name) do
    names = Rtnetlink.next_links(socket)
    if name in names, do: names, else: names ++ names_until(socket, name)
  end
end
