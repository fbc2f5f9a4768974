defmodule Nlns.Netlink.LinksTest do
  # Links and addresses through nlns are those of `ip`: rtnetlink(7), linux/if_link.h, linux/if_addr.h.
  use Nlns.NetnsCase

  import Bitwise
  import Nlns.Compare

  alias Nlns.Netlink
  alias Nlns.Netlink.{Attribute, Message}

  @rtm_getlink 18
  @rtm_getaddr 22

  @world """
  ip link set lo up
  ip link add v0 type veth peer name v1
  ip link set v0 addrgenmode none mtu 1400 txqueuelen 77 alias the-first
  ip link set v1 addrgenmode none address 02:00:00:00:00:01
  ip link property add dev v0 altname another altname yet-another
  ip link set v0 up
  ip link set v1 up
  ip link add v2 type veth peer name v3
  ip address add 192.0.2.1/24 dev v0 label v0:x
  ip address add 192.0.2.77 peer 198.51.100.77 dev v0
  ip address add 2001:db8::1/64 dev v0 nodad
  ip address add 2001:db8:1::1 peer 2001:db8:1::2/128 dev v1 nodad
  """

  setup do
    path = netns()
    run_all!(path, @world)
    {:ok, path: path}
  end

  @link [
    ifname: {3, :string},
    mtu: {4, :u32},
    address: {1, :binary},
    broadcast: {2, :binary},
    link: {5, :u32},
    qdisc: {6, :string},
    txqlen: {13, :u32},
    operstate: {16, :u8},
    linkinfo: {18, info_kind: {1, :string}},
    ifalias: {20, :string},
    stats64: {23, :binary},
    num_rx_queues: {32, :u32},
    altnames: {52, {:list, :string}}
  ]
  @link_keys ~w(ifindex ifname flags mtu address broadcast link qdisc txqlen operstate info_kind ifalias
                rx tx num_rx_queues altnames)
  @flags [UP: 0, BROADCAST: 1, LOOPBACK: 3, POINTOPOINT: 4, NOARP: 7, MULTICAST: 12, LOWER_UP: 16]
  @operstates {"UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP"}

  test "links_are_those_of_ip", %{path: path} do
    # The interfaces' states and counters may still change.
    eventually(fn ->
      theirs = json!(path, "ip", ~w(-j -d -s link))
      assert length(theirs) == 5
      names = Map.new(theirs, &{&1["ifindex"], &1["ifname"]})
      assert rows(links(path, names)) == rows(Enum.map(theirs, &flat_link/1), @link_keys)
    end)
  end

  @address [
    address: {1, :binary},
    local: {2, :binary},
    label: {3, :string},
    cacheinfo: {6, :binary}
  ]
  @address_keys ~w(ifindex family local address prefixlen label preferred_life_time valid_life_time)

  test "addresses_are_those_of_ip", %{path: path} do
    theirs =
      for link <- json!(path, "ip", ~w(-j address)), address <- link["addr_info"] do
        Map.put(address, "ifindex", link["ifindex"])
      end

    assert length(theirs) == 6
    assert rows(addresses(path)) == rows(theirs, @address_keys)
  end

  test "one_link_is_asked_for_by_its_name", %{path: path} do
    # IFLA_IFNAME
    request = [<<0::128>>, Attribute.encode([{3, {:string, "v0"}}])]

    assert {:ok, [message]} =
             Netlink.execute(path, :route, %Message{type: @rtm_getlink, payload: request})

    assert <<_::32, index::native-32, _::64, attributes::binary>> = message.payload
    assert Attribute.get!(attributes, 3, :string) == "v0"
    assert [%{"ifindex" => ^index}] = json!(path, "ip", ~w(-j link show v0))
  end

  # struct ifinfomsg
  defp links(path, names) do
    for <<_::32, index::native-32, flags::native-32, _::32, attributes::binary>> <-
          dump(path, :route, @rtm_getlink, <<0::128>>) do
      link = Attribute.to_map!(attributes, @link)

      # struct rtnl_link_stats64
      <<rx_packets::native-64, tx_packets::native-64, rx_bytes::native-64, tx_bytes::native-64,
        _::binary>> = link.stats64

      %{
        "ifindex" => index,
        "ifname" => link.ifname,
        "flags" => for({name, bit} <- @flags, (flags >>> bit &&& 1) == 1, do: to_string(name)),
        "mtu" => link.mtu,
        "address" => mac(link.address),
        "broadcast" => mac(link.broadcast),
        "link" => names[link[:link]],
        "qdisc" => link.qdisc,
        "txqlen" => link.txqlen,
        "operstate" => elem(@operstates, link.operstate),
        "info_kind" => link[:linkinfo][:info_kind],
        "ifalias" => link[:ifalias],
        "rx" => {rx_packets, rx_bytes},
        "tx" => {tx_packets, tx_bytes},
        "num_rx_queues" => link.num_rx_queues,
        "altnames" => link[:altnames]
      }
    end
  end

  # struct ifaddrmsg
  defp addresses(path) do
    for <<family, prefixlen, _::16, index::native-32, attributes::binary>> <-
          dump(path, :route, @rtm_getaddr, <<0::64>>) do
      address = Attribute.to_map!(attributes, @address)
      <<preferred::native-32, valid::native-32, _::binary>> = address.cacheinfo
      local = address[:local] || address.address

      %{
        "ifindex" => index,
        "family" => if(family == 2, do: "inet", else: "inet6"),
        "local" => ip(local),
        "address" => if(address.address != local, do: ip(address.address)),
        "prefixlen" => prefixlen,
        "label" => address[:label],
        "preferred_life_time" => preferred,
        "valid_life_time" => valid
      }
    end
  end

  defp flat_link(link) do
    counters = fn way -> {link["stats64"][way]["packets"], link["stats64"][way]["bytes"]} end
    known = for {name, _bit} <- @flags, to_string(name) in link["flags"], do: to_string(name)

    Map.merge(link, %{
      "flags" => known,
      "info_kind" => link["linkinfo"]["info_kind"],
      "rx" => counters.("rx"),
      "tx" => counters.("tx")
    })
  end
end
