defmodule Rtnetlink do
  @moduledoc """
  Asks the kernel for the links and addresses of the namespace that a `NETLINK_ROUTE` socket is in:
  rtnetlink(7) over `:socket`, as much of it as a dump needs.
  """

  import Bitwise

  # linux/netlink.h
  @nlm_f_request 0x01
  @nlm_f_dump_intr 0x10
  @nlm_f_dump 0x300
  @nlmsg_error 2
  @nlmsg_done 3
  @nla_type_mask 0x3FFF

  # linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h
  @rtm_getlink 18
  @rtm_getaddr 22
  @ifla_address 1
  @ifla_ifname 3
  @ifla_operstate 16
  @ifa_address 1
  @ifa_local 2

  # IF_OPER_*, from 0 on
  @states {"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"}

  # The most that the kernel puts into one datagram of a dump.
  @datagram 32_768
  @timeout 5_000

  @doc "Every link as a map: `index`, `name`, `state`, `mac`."
  def links(socket) do
    # struct ifinfomsg: family, padding, type, index, flags, change
    for <<_::32, index::native-32, _::64, attributes::binary>> <-
          dump(socket, @rtm_getlink, <<0::128>>) do
      attributes = attributes(attributes)

      %{
        index: index,
        name: String.trim_trailing(attributes[@ifla_ifname], <<0>>),
        state: elem(@states, :binary.first(attributes[@ifla_operstate])),
        mac: mac(attributes[@ifla_address])
      }
    end
  end

  @doc "Every address as a map: `index` of its link, `address` as text with the length of its prefix."
  def addresses(socket) do
    # struct ifaddrmsg: family, prefix length, flags, scope, index
    for <<_::8, prefix, _::16, index::native-32, attributes::binary>> <-
          dump(socket, @rtm_getaddr, <<0::64>>) do
      attributes = attributes(attributes)
      # Point to point, only IFA_LOCAL is ours; IPv6 mostly has no IFA_LOCAL.
      address = attributes[@ifa_local] || attributes[@ifa_address]
      %{index: index, address: "#{ip(address)}/#{prefix}"}
    end
  end

  # Every message of the answer to a dump request, without its header.
  defp dump(socket, type, body) do
    seq = System.unique_integer([:positive]) &&& 0xFFFFFFFF
    flags = @nlm_f_request ||| @nlm_f_dump
    length = 16 + byte_size(body)
    header = <<length::native-32, type::native-16, flags::native-16, seq::native-32, 0::32>>
    :ok = :socket.send(socket, [header, body])

    messages = receive_dump(socket, seq)

    if Enum.any?(messages, fn {_, flags, _, _} -> (flags &&& @nlm_f_dump_intr) != 0 end) do
      # Links or addresses changed meanwhile: this is no picture of any one moment.
      dump(socket, type, body)
    else
      for {type, _, _, body} <- messages, type != @nlmsg_done, do: body
    end
  end

  # A dump is as many datagrams as it takes, each of several messages, and the last message says so.
  defp receive_dump(socket, seq) do
    {:ok, %{flags: flags, iov: iov}} = :socket.recvmsg(socket, @datagram, 0, [], @timeout)
    if :trunc in flags, do: raise("rtnetlink: a datagram of more than #{@datagram} bytes")

    new = for {_, _, ^seq, _} = message <- iov |> IO.iodata_to_binary() |> messages(), do: message
    Enum.each(new, &check!/1)

    if Enum.any?(new, &match?({@nlmsg_done, _, _, _}, &1)),
      do: new,
      else: new ++ receive_dump(socket, seq)
  end

  # Both carry an errno, negative, or 0.
  defp check!({type, _, _, <<errno::native-signed-32, _::binary>>})
       when type in [@nlmsg_error, @nlmsg_done] and errno != 0,
       do: raise("rtnetlink: the kernel refuses with errno #{-errno}")

  defp check!(_message), do: :ok

  defp messages(<<>>), do: []

  defp messages(
         <<length::native-32, type::native-16, flags::native-16, seq::native-32, _port::32,
           rest::binary>>
       ) do
    {body, rest} = split(rest, length - 16)
    [{type, flags, seq, body} | messages(rest)]
  end

  defp attributes(binary), do: binary |> attributes([]) |> Map.new()

  defp attributes(<<length::native-16, type::native-16, rest::binary>>, found) do
    {value, rest} = split(rest, length - 4)
    attributes(rest, [{type &&& @nla_type_mask, value} | found])
  end

  defp attributes(<<>>, found), do: found

  # What is `size` long ends at the next multiple of 4, the very last perhaps without its padding.
  defp split(binary, size) do
    <<value::binary-size(size), rest::binary>> = binary
    padding = min(Integer.mod(-size, 4), byte_size(rest))
    {value, binary_part(rest, padding, byte_size(rest) - padding)}
  end

  # Some links have none, and tunnels their own end's IP address.
  defp mac(nil), do: ""
  defp mac(bytes) when byte_size(bytes) in [4, 16], do: ip(bytes)
  defp mac(bytes), do: bytes |> Base.encode16(case: :lower) |> pairs() |> Enum.join(":")

  defp pairs(<<pair::binary-2, rest::binary>>), do: [pair | pairs(rest)]
  defp pairs(""), do: []

  defp ip(<<a, b, c, d>>), do: to_string(:inet.ntoa({a, b, c, d}))
  defp ip(bytes), do: to_string(:inet.ntoa(List.to_tuple(for <<n::16 <- bytes>>, do: n)))
end
