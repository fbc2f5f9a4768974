defmodule Nlns.Uses.CaptureTest do
  # A packet capture on one interface of a container, packet(7).
  use Nlns.NetnsCase

  @timeout within()
  @af_packet 17
  @eth_p_all 0x0003
  @eth_p_ip 0x0800
  @udp 17

  test "a socket bound to a veth sees the frames that come over it, and none of other interfaces" do
    [path, other] = for _ <- 1..2, do: netns()
    Netns.up(path, "lo")
    {link, _} = Netns.join(path, other)

    # Protocol 0 receives nothing; what is to be received, and where, is said together by bind.
    {:ok, capture} = Nlns.open_socket(path, :packet, :raw, 0)
    {:ok, index} = :socket.ioctl(capture, :gifindex, to_charlist(link))
    assert :socket.bind(capture, packet_address(@eth_p_all, index)) == :ok

    [inside, outside] = for where <- [path, other], do: udp(where)
    send_to(inside, {127, 0, 0, 1}, "over lo")
    send_to(outside, {192, 0, 2, 1}, "over the veth")

    assert frames = frames_until(capture, "over the veth", [])
    refute Enum.any?(frames, &(&1.payload == "over lo"))

    assert %{from: {192, 0, 2, 2}, to: {192, 0, 2, 1}, port: 7} =
             Enum.find(frames, &(&1.payload == "over the veth"))

    for socket <- [capture, inside, outside], do: :ok = :socket.close(socket)
  end

  # `:socket` has no names for this family, but takes addresses as bytes: struct sockaddr_ll behind its
  # family. The protocol is in network byte order.
  defp packet_address(protocol, index) do
    rest = <<0::16, 0::8, 0::8, 0::64>>
    %{family: @af_packet, addr: <<protocol::big-16, index::native-32, rest::binary>>}
  end

  defp udp(path) do
    {:ok, socket} = Nlns.open_socket(path, :inet, :dgram, :udp)
    socket
  end

  defp send_to(socket, ip, data),
    do: :ok = :socket.sendto(socket, data, %{family: :inet, addr: ip, port: 7}, @timeout)

  defp frames_until(socket, payload, frames) do
    {:ok, data} = :socket.recv(socket, 0, @timeout)
    frame = parse(data)

    if frame.payload == payload,
      do: [frame | frames],
      else: frames_until(socket, payload, [frame | frames])
  end

  # Ethernet, IPv4 without options, UDP.
  defp parse(
         <<_macs::96, @eth_p_ip::16, 4::4, 5::4, _::64, @udp, _::16, from::binary-4, to::binary-4,
           _from_port::16, port::16, length::16, _::16, rest::binary>>
       ) do
    payload = binary_part(rest, 0, length - 8)
    %{from: ip(from), to: ip(to), port: port, payload: payload}
  end

  defp parse(_other), do: %{payload: nil}

  defp ip(bytes), do: bytes |> :binary.bin_to_list() |> List.to_tuple()
end
