defmodule Nlns.Uses.NftablesTest do
  # A container's firewall, changed and read as the `nft` program does: linux/netfilter/nf_tables.h.
  use Nlns.NetnsCase

  alias Nlns.Netlink
  alias Nlns.Netlink.{Attribute, Message}

  # NFNL_MSG_BATCH_BEGIN and _END; NFT_MSG_NEWTABLE and _GETTABLE of the subsystem NFNL_SUBSYS_NFTABLES.
  @batch_begin 0x10
  @batch_end 0x11
  @nftables 10
  @newtable 0x0A00
  @gettable 0x0A01

  @unspec 0
  @inet 1
  @table_name 1

  test "tables_of_a_namespace_are_not_the_hosts" do
    path = netns()
    assert tables(path) == []

    name = Netns.unique("nlnstest")
    assert {:ok, []} = Netlink.execute(path, :netfilter, batch(name))
    assert tables(path) == [name]
    refute name in tables("/proc/self/ns/net")
  end

  # What changes anything comes in a batch.
  defp batch(name) do
    [
      message(@batch_begin, 0, @unspec, @nftables),
      message(@newtable, :create, @inet, 0, [{@table_name, {:string, name}}]),
      message(@batch_end, 0, @unspec, @nftables)
    ]
  end

  defp tables(path) do
    answer = Netlink.execute!(path, :netfilter, message(@gettable, :dump, @unspec, 0))

    for %Message{payload: <<_nfgenmsg::32, attributes::binary>>} <- answer,
        do: Attribute.get!(attributes, @table_name, :string)
  end

  # struct nfgenmsg: family, version, resource
  defp message(type, flags, family, resource, attributes \\ []) do
    payload = [<<family, 0, resource::big-16>>, Attribute.encode(attributes)]
    %Message{type: type, flags: flags, payload: payload}
  end
end
