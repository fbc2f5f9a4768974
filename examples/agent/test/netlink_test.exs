defmodule NetnsAgent.NetlinkTest do
  use NetnsAgent.Test.AgentCase, async: false

  alias NetnsAgent.Netlink

  @netlink_usersock 2

  # NETLINK_USERSOCK is for processes that talk to each other. Here one plays the kernel's part, and
  # another the container's root.
  defp usersock(name), do: Nlns.open_socket({:name, name}, :netlink, :raw, @netlink_usersock)

  defp deadline(ms), do: System.monotonic_time(:millisecond) + ms

  test "what another process sends is not taken for the kernel's answer" do
    name = netns()
    {:ok, socket} = Nlns.open_socket({:name, name}, :netlink, :raw, 0)
    # A first question binds the socket, so that it has an address to send to.
    {:ok, links, false} = Netlink.links(socket, 10, deadline(1_000))
    {:ok, %{addr: <<_::16, port::32-native, _::binary>>}} = :socket.sockname(socket)

    {:ok, other} = Nlns.open_socket({:name, name}, :netlink, :raw, 0)
    address = %{family: 16, addr: <<0::16, port::32-native, 0::32>>}
    done = <<20::32-native, 3::16-native, 2::16-native, 1::32-native, 0::32, 0::32>>
    assert :ok == :socket.sendto(other, done, address)
    assert :ok == :socket.sendto(other, "rubbish", address)

    assert {:ok, ^links, false} = Netlink.links(socket, 10, deadline(1_000))
  end

  test "no answer is a timeout" do
    {:ok, socket} = usersock(netns())
    # Nobody has port 0 of this family, so the question itself is refused.
    assert {:error, :econnrefused} = Netlink.links(socket, 10, deadline(200))
    {:ok, socket} = Nlns.open_socket({:name, netns()}, :netlink, :raw, 0)
    assert {:error, :timeout} = Netlink.links(socket, 10, deadline(0))
  end
end
