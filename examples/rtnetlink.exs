defmodule Rtnetlink do
  @moduledoc "The requests of rtnetlink(7) for links and addresses, and what their answers say."

  alias Nlns.Netlink.{Attribute, Message}

  # linux/rtnetlink.h
  @rtm_getlink 18
  @rtm_getaddr 22

  # IF_OPER_*, from 0 on
  @states {"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"}

  @doc "The request for every link: struct ifinfomsg with nothing in it."
  def get_links, do: %Message{type: @rtm_getlink, flags: :dump, payload: <<0::128>>}

  @doc "The request for every address: struct ifaddrmsg with nothing in it."
  def get_addresses, do: %Message{type: @rtm_getaddr, flags: :dump, payload: <<0::64>>}

  @doc "Every link as a map: `index`, `name`, `state`, `mac`."
  def links(messages) do
    # struct ifinfomsg: family, padding, type, index, flags, change
    for %{payload: <<_::32, index::native-32, _::64, attributes::binary>>} <- messages do
      # IFLA_IFNAME, IFLA_OPERSTATE, IFLA_ADDRESS
      formats = [name: {3, :string}, state: {16, :u8}, mac: {1, :binary}]
      link = Attribute.to_map!(attributes, formats)
      %{index: index, name: link.name, state: elem(@states, link.state), mac: mac(link[:mac])}
    end
  end

  @doc "Every address as a map: `index` of its link, `address` as text with the length of its prefix."
  def addresses(messages) do
    # struct ifaddrmsg: family, prefix length, flags, scope, index
    for %{payload: <<_::8, prefix, _::16, index::native-32, attributes::binary>>} <- messages do
      # IFA_ADDRESS, IFA_LOCAL. Point to point, only the latter is ours; IPv6 mostly has no such.
      found = Attribute.to_map!(attributes, address: {1, :binary}, local: {2, :binary})
      %{index: index, address: "#{ip(found[:local] || found[:address])}/#{prefix}"}
    end
  end

  # Some links have none, and tunnels their own end's IP address.
  defp mac(nil), do: ""
  defp mac(bytes) when byte_size(bytes) in [4, 16], do: ip(bytes)

  defp mac(bytes),
    do: Enum.map_join(:binary.bin_to_list(bytes), ":", &Base.encode16(<<&1>>, case: :lower))

  defp ip(<<a, b, c, d>>), do: to_string(:inet.ntoa({a, b, c, d}))
  defp ip(bytes), do: to_string(:inet.ntoa(List.to_tuple(for <<n::16 <- bytes>>, do: n)))
end
