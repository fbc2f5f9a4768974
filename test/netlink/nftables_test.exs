defmodule Nlns.Netlink.NftablesTest do
  # A firewall through nlns is that of `nft -j list ruleset`: linux/netfilter/nf_tables.h.
  use Nlns.NetnsCase

  import Bitwise
  import Nlns.Compare

  alias Nlns.Netlink
  alias Nlns.Netlink.{Attribute, Message}

  # The subsystem, NFNL_SUBSYS_NFTABLES, is the upper half of its messages' types.
  @nftables 10
  @newtable @nftables <<< 8
  @gettable @newtable + 1
  @newchain @newtable + 3
  @getchain @newtable + 4
  @getrule @newtable + 7
  @getset @newtable + 10
  @getsetelem @newtable + 13
  @batch_begin 16
  @batch_end 17

  @inet 1
  @families %{1 => "inet", 2 => "ip", 10 => "ip6"}
  @input 1
  @enoent 2

  @rules """
  table inet one {
    set known { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 }; }
    chain input {
      type filter hook input priority -10; policy drop;
      ip saddr @known counter packets 3 bytes 70 accept
      counter packets 5 bytes 600 drop
    }
    chain other { tcp dport 443 accept; }
  }
  table ip two {
  }
  table ip6 three {
    chain empty {
    }
  }
  """

  setup do
    {:ok, path: netns()}
  end

  test "ruleset_is_that_of_nft", %{path: path} do
    nft!(path, @rules)
    theirs = nft(path)

    assert for({kind, objects} <- theirs, into: %{}, do: {kind, length(objects)}) ==
             %{"table" => 3, "chain" => 3, "set" => 1, "rule" => 3}

    assert rows(tables(path)) == rows(theirs["table"])
    assert rows(chains(path)) == rows(theirs["chain"])
    assert rows(sets(path)) == rows(theirs["set"], ~w(family table name handle elem))
    assert rows(rules(path)) == rows(Enum.map(theirs["rule"], &counted/1))
  end

  test "batch_is_carried_out_as_a_whole", %{path: path} do
    batch = fn chain_table ->
      [
        request(@batch_begin, 0, [], @nftables),
        request(@newtable, [:create, :excl], [{1, {:string, "mine"}}]),
        request(@newchain, :create, [
          {1, {:string, chain_table}},
          {3, {:string, "in"}},
          {4, [{1, {:be32, @input}}, {2, <<-5::big-32>>}]},
          {7, {:string, "filter"}}
        ]),
        request(@batch_end, 0, [], @nftables)
      ]
    end

    # The second of them names a table that is not there, so the first leaves nothing either.
    assert {:error, {:netlink, @enoent, %{index: 2}}} =
             Netlink.execute(path, :netfilter, batch.("other"))

    assert nft(path) == %{}

    assert {:ok, []} = Netlink.execute(path, :netfilter, batch.("mine"))
    assert %{"table" => [table], "chain" => [chain]} = nft(path)
    assert %{"family" => "inet", "name" => "mine"} = table
    assert %{"table" => "mine", "name" => "in", "hook" => "input", "prio" => -5} = chain
  end

  # struct nfgenmsg: family, version, resource
  defp request(type, flags, attributes, resource \\ 0) do
    family = if resource == 0, do: @inet, else: 0
    payload = [<<family, 0, resource::big-16>>, Attribute.encode(attributes)]
    %Message{type: type, flags: flags, payload: payload}
  end

  defp objects(path, type, formats) do
    for <<family, _::24, attributes::binary>> <- dump(path, :netfilter, type, <<0::32>>) do
      {family, Attribute.to_map!(attributes, formats)}
    end
  end

  defp tables(path) do
    for {family, table} <- objects(path, @gettable, name: {1, :string}, handle: {4, :be64}),
        do: %{"family" => @families[family], "name" => table.name, "handle" => table.handle}
  end

  @chain [
    table: {1, :string},
    handle: {2, :be64},
    name: {3, :string},
    hook: {4, number: {1, :be32}, priority: {2, :binary}},
    policy: {5, :be32},
    type: {7, :string}
  ]

  defp chains(path) do
    for {family, chain} <- objects(path, @getchain, @chain) do
      base =
        with %{hook: %{number: @input, priority: <<priority::big-signed-32>>}} <- chain do
          policy = elem({"drop", "accept"}, chain.policy)
          %{"hook" => "input", "prio" => priority, "type" => chain.type, "policy" => policy}
        else
          _ -> %{}
        end

      chain |> object(family) |> Map.put("name", chain.name) |> Map.merge(base)
    end
  end

  defp sets(path) do
    for {family, set} <-
          objects(path, @getset, table: {1, :string}, name: {2, :string}, handle: {16, :be64}) do
      # NFTA_SET_ELEM_LIST_ELEMENTS, of each NFTA_SET_ELEM_KEY, of which NFTA_DATA_VALUE
      names = Attribute.encode([{1, {:string, set.table}}, {2, {:string, set.name}}])

      elements =
        for <<_::32, attributes::binary>> <-
              dump(path, :netfilter, @getsetelem, [<<family, 0::24>>, names]),
            element <- Attribute.get!(attributes, 3, {:list, [key: {1, value: {1, :binary}}]}),
            do: ip(element.key.value)

      set |> object(family) |> Map.merge(%{"name" => set.name, "elem" => Enum.sort(elements)})
    end
  end

  @rule [
    table: {1, :string},
    chain: {2, :string},
    handle: {3, :be64},
    expressions: {4, {:list, [name: {1, :string}, data: {2, :binary}]}}
  ]

  defp rules(path) do
    for {family, rule} <- objects(path, @getrule, @rule) do
      counter =
        for %{name: "counter", data: data} <- rule.expressions,
            do: Attribute.to_map!(data, bytes: {1, :be64}, packets: {2, :be64})

      rule |> object(family) |> Map.merge(%{"chain" => rule.chain, "counter" => counter})
    end
  end

  defp object(object, family),
    do: %{"family" => @families[family], "table" => object.table, "handle" => object.handle}

  # By kind, without the version.
  defp nft(path) do
    %{"nftables" => [_version | objects]} = json!(path, "nft", ~w(-j list ruleset))
    Enum.group_by(objects, &(&1 |> Map.keys() |> hd()), &(&1 |> Map.values() |> hd()))
  end

  defp counted(rule) do
    counter =
      for %{"counter" => counter} <- rule["expr"],
          do: %{bytes: counter["bytes"], packets: counter["packets"]}

    rule |> Map.take(~w(family table chain handle)) |> Map.put("counter", counter)
  end
end
