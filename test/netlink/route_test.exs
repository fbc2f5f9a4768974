defmodule Nlns.Netlink.RouteTest do
  # Routes, neighbours, rules and qdiscs through nlns are those of `ip` and `tc`, which print numbers
  # with -N: rtnetlink(7), linux/rtnetlink.h, linux/neighbour.h, linux/fib_rules.h.
  use Nlns.NetnsCase

  import Nlns.Compare

  alias Nlns.Netlink.Attribute

  @rtm_getroute 26
  @rtm_getneigh 30
  @rtm_getrule 34
  @rtm_getqdisc 38

  @world """
  ip link set lo up
  ip link add v0 type veth peer name v1
  ip link set v0 addrgenmode none
  ip link set v1 addrgenmode none
  ip link set v0 up
  ip link set v1 up
  ip address add 192.0.2.1/24 dev v0
  ip address add 2001:db8::1/64 dev v0 nodad
  ip route add 198.51.100.0/24 via 192.0.2.9 metric 7
  ip route add 203.0.113.0/24 via 192.0.2.9 table 1000
  ip route add blackhole 203.0.113.128/25
  ip route add default via 192.0.2.9 proto static
  ip route add 2001:db8:1::/48 via 2001:db8::9
  ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev v0
  ip neigh add 2001:db8::9 lladdr 02:00:00:00:00:0a dev v0
  ip rule add from 10.0.0.0/8 table 1000 priority 100
  ip rule add to 192.0.2.0/24 fwmark 7 table 101 priority 101
  ip rule add iif v0 blackhole priority 102
  ip -6 rule add from 2001:db8::/32 table 100 priority 100
  tc qdisc add dev v0 root handle 7: pfifo limit 9
  tc qdisc add dev v1 root handle 1a: tbf rate 8mbit burst 10000 limit 20000
  tc qdisc add dev v1 parent 1a:1 bfifo limit 3000
  """

  setup do
    path = netns()
    run_all!(path, @world)
    names = Map.new(json!(path, "ip", ~w(-j link)), &{&1["ifindex"], &1["ifname"]})
    {:ok, path: path, names: names}
  end

  @route [
    dst: {1, :binary},
    oif: {4, :u32},
    gateway: {5, :binary},
    priority: {6, :u32},
    prefsrc: {7, :binary},
    table: {15, :u32}
  ]
  @route_keys ~w(type dst gateway dev table protocol scope prefsrc metric)

  for {name, family, version} <- [{"ipv4", 2, "-4"}, {"ipv6", 10, "-6"}] do
    @family family
    @version version

    test "#{name}_routes_are_those_of_ip", %{path: path, names: names} do
      # A link that is up, and an address of IPv6, have routes only after a while.
      eventually(fn ->
        theirs = json!(path, "ip", [@version | ~w(-N -j -d route show table all)])
        assert length(theirs) > 4
        assert rows(routes(path, @family, names)) == rows(theirs, @route_keys)
      end)
    end

    test "#{name}_rules_are_those_of_ip", %{path: path} do
      theirs = json!(path, "ip", [@version | ~w(-N -j rule)])
      assert length(theirs) > 2
      assert rows(rules(path, @family)) == rows(theirs)
    end
  end

  # NUD_PERMANENT; `ip` leaves out multicast and the like, NUD_NOARP.
  @permanent 0x80

  test "neighbours_are_those_of_ip", %{path: path, names: names} do
    theirs = json!(path, "ip", ~w(-j neigh show nud permanent))
    assert length(theirs) == 2

    # struct ndmsg
    ours =
      for <<_::32, index::native-32, @permanent::native-16, _::16, attributes::binary>> <-
            dump(path, :route, @rtm_getneigh, <<0::96>>) do
        neighbour = Attribute.to_map!(attributes, dst: {1, :binary}, lladdr: {2, :binary})

        %{
          "dst" => ip(neighbour.dst),
          "dev" => names[index],
          "lladdr" => mac(neighbour.lladdr),
          "state" => ["PERMANENT"]
        }
      end

    assert rows(ours) == rows(theirs)
  end

  test "qdiscs_are_those_of_tc", %{path: path, names: names} do
    theirs = json!(path, "tc", ~w(-j qdisc))
    assert Enum.sort(for qdisc <- theirs, do: qdisc["kind"]) == ~w(bfifo noqueue pfifo tbf)
    assert rows(qdiscs(path, names)) == rows(theirs, ~w(kind dev handle parent root refcnt limit))
  end

  # struct rtmsg
  defp routes(path, family, names) do
    for <<_family, length, _, _tos, _table, protocol, scope, type, _flags::32,
          attributes::binary>> <-
          dump(path, :route, @rtm_getroute, <<family, 0::88>>) do
      route = Attribute.to_map!(attributes, @route)

      %{
        "type" => to_string(type),
        "dst" => prefix(route[:dst], length),
        "gateway" => route[:gateway] && ip(route.gateway),
        "dev" => names[route[:oif]],
        "table" => to_string(route.table),
        "protocol" => to_string(protocol),
        "scope" => to_string(scope),
        "prefsrc" => route[:prefsrc] && ip(route.prefsrc),
        "metric" => route[:priority]
      }
    end
  end

  defp prefix(nil, 0), do: "default"
  defp prefix(address, length) when length == bit_size(address), do: ip(address)
  defp prefix(address, length), do: "#{ip(address)}/#{length}"

  @rule [
    dst: {1, :binary},
    src: {2, :binary},
    iif: {3, :string},
    priority: {6, :u32},
    fwmark: {10, :u32},
    table: {15, :u32}
  ]
  @to_table 1

  # struct fib_rule_hdr
  defp rules(path, family) do
    for <<_family, to, from, _::32, action, _flags::32, attributes::binary>> <-
          dump(path, :route, @rtm_getrule, <<family, 0::88>>) do
      rule = Attribute.to_map!(attributes, @rule)

      %{
        "priority" => rule[:priority] || 0,
        "src" => if(rule[:src], do: ip(rule.src), else: "all"),
        "srclen" => if(rule[:src], do: from),
        "dst" => rule[:dst] && ip(rule.dst),
        "dstlen" => if(rule[:dst], do: to),
        "iif" => rule[:iif],
        "fwmark" => rule[:fwmark] && "0x#{rule.fwmark}",
        "table" => if(action == @to_table, do: to_string(rule.table)),
        "action" => if(action != @to_table, do: to_string(action))
      }
    end
  end

  @root 0xFFFFFFFF

  # struct tcmsg
  defp qdiscs(path, names) do
    for <<_::32, index::native-32, handle::native-32, parent::native-32, info::native-32,
          attributes::binary>> <- dump(path, :route, @rtm_getqdisc, <<0::160>>) do
      %{
        "kind" => Attribute.get!(attributes, 1, :string),
        "dev" => names[index],
        "handle" => major_minor(handle),
        "parent" => if(parent != @root, do: major_minor(parent)),
        "root" => if(parent == @root, do: true),
        "refcnt" => if(parent == @root, do: info)
      }
    end
  end

  defp major_minor(handle) do
    <<major::16, minor::16>> = <<handle::32>>
    hex = fn n -> n |> Integer.to_string(16) |> String.downcase() end
    hex.(major) <> ":" <> if(minor == 0, do: "", else: hex.(minor))
  end
end
