defmodule Nlns.Uses.NftablesTest do
  # A container's firewall, read as the `nft` program does: nfnetlink, linux/netfilter/nf_tables.h.
  use Nlns.NetnsCase

  @timeout within(5_000)
  @netlink_netfilter 12

  @nlmsg_error 2
  @nlmsg_done 3
  @batch_begin 0x10
  @batch_end 0x11
  # The subsystem, NFNL_SUBSYS_NFTABLES, is the upper half of its messages' types.
  @nftables 10
  @newtable 0x0A00
  @gettable 0x0A01

  # NLM_F_REQUEST, and NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP with it.
  @request 0x1
  @create 0x405
  @dump 0x301

  @inet 1
  @table_name 1

  test "the tables of a namespace are listed through nlns, and are not the host's" do
    path = netns()
    {:ok, inside} = Nlns.open_socket(path, :netlink, :raw, @netlink_netfilter)
    assert tables(inside) == []

    name = Netns.unique("nlnstest")
    assert create_table(inside, name) == 0
    assert tables(inside) == [name]

    {:ok, host} = Nlns.open_socket("/proc/self/ns/net", :netlink, :raw, @netlink_netfilter)
    refute name in tables(host)
    for socket <- [inside, host], do: :ok = :socket.close(socket)
  end

  # What changes anything comes in a batch; the errno of the acknowledgement.
  defp create_table(socket, name) do
    batch = [
      message(@batch_begin, @request, 0, @nftables),
      message(@newtable, @create, @inet, 0, attribute(@table_name, name <> <<0>>)),
      message(@batch_end, @request, 0, @nftables)
    ]

    :ok = :socket.send(socket, batch, @timeout)

    {:ok, <<_::32, @nlmsg_error::native-16, _::80, errno::native-signed-32, _::binary>>} =
      :socket.recv(socket, 0, @timeout)

    errno
  end

  defp tables(socket) do
    :ok = :socket.send(socket, message(@gettable, @dump, 0, 0), @timeout)
    receive_tables(socket, [])
  end

  defp receive_tables(socket, names) do
    {:ok, data} = :socket.recv(socket, 0, @timeout)
    {types, bodies} = Enum.unzip(messages(data))
    refute @nlmsg_error in types

    names =
      names ++
        for <<_nfgenmsg::32, attributes::binary>> <- bodies, name = name(attributes), do: name

    if @nlmsg_done in types, do: names, else: receive_tables(socket, names)
  end

  # struct nlmsghdr, struct nfgenmsg
  defp message(type, flags, family, resource, attributes \\ "") do
    body = <<family, 0, resource::big-16, attributes::binary>>
    <<16 + byte_size(body)::native-32, type::native-16, flags::native-16, 0::64, body::binary>>
  end

  defp attribute(type, value) do
    length = 4 + byte_size(value)
    <<length::native-16, type::native-16, value::binary, 0::size(padding(length))-unit(8)>>
  end

  defp messages(<<length::native-32, type::native-16, _::80, rest::binary>>) do
    <<body::binary-size(length - 16), rest::binary>> = rest
    [{type, body} | messages(rest)]
  end

  defp messages(<<>>), do: []

  defp name(<<length::native-16, @table_name::native-16, rest::binary>>),
    do: binary_part(rest, 0, length - 5)

  defp name(<<length::native-16, _::16, rest::binary>>) do
    skip = length - 4 + padding(length)
    <<_::binary-size(skip), rest::binary>> = rest
    name(rest)
  end

  defp name(<<>>), do: nil

  defp padding(length), do: rem(4 - rem(length, 4), 4)
end
