defmodule Nlns.Uses.UdpTest do
  # Two namespaces, and one process that talks in both: what a network manager does to see whether
  # the link it has just made carries anything.
  use Nlns.NetnsCase

  @timeout within()

  test "a datagram goes from one namespace to another and is echoed over their link" do
    [first, second] = for _ <- 1..2, do: netns()
    Netns.join(first, second)
    {:ok, near} = open(first, {192, 0, 2, 1})
    {:ok, far} = open(second, {192, 0, 2, 2})
    # Bound alike on the host this would be an address that nobody has.
    {:ok, host} = :socket.open(:inet, :dgram, :udp)
    address = address({192, 0, 2, 1}, 7)
    assert :socket.bind(host, address) == {:error, :eaddrnotavail}

    :ok = :socket.sendto(near, "there and back", address({192, 0, 2, 2}, 7), @timeout)
    assert {:ok, {from, "there and back" = data}} = :socket.recvfrom(far, 0, @timeout)
    assert from == address
    :ok = :socket.sendto(far, data, from, @timeout)
    assert {:ok, {echoed_by, ^data}} = :socket.recvfrom(near, 0, @timeout)
    assert echoed_by == address({192, 0, 2, 2}, 7)

    for socket <- [near, far, host], do: :ok = :socket.close(socket)
  end

  defp open(path, ip) do
    {:ok, socket} = Nlns.open_socket(path, :inet, :dgram, :udp)
    with :ok <- :socket.bind(socket, address(ip, 7)), do: {:ok, socket}
  end

  defp address(ip, port), do: %{family: :inet, addr: ip, port: port}
end
