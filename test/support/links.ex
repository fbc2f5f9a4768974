defmodule Nlns.Links do
  @moduledoc "Requests about links, for tests of exchanges as such: rtnetlink(7)."

  alias Nlns.Netlink.{Attribute, Message}

  @rtm_newlink 16
  @rtm_getlink 18
  @ifla_ifname 3
  @ifla_linkinfo 18
  @ifla_info_kind 1

  @doc "A dump of all links; one of `lo` alone has one message in a new namespace."
  @spec dump() :: Message.t()
  def dump, do: %Message{type: @rtm_getlink, flags: :dump, payload: <<0::128>>}

  @doc "A new link of a kind that needs no other."
  @spec add(String.t(), String.t()) :: Message.t()
  def add(name, kind) do
    info = [{@ifla_info_kind, {:string, kind}}]
    attributes = Attribute.encode([{@ifla_ifname, {:string, name}}, {@ifla_linkinfo, info}])
    %Message{type: @rtm_newlink, flags: [:create, :excl], payload: [<<0::128>>, attributes]}
  end

  @doc """
  A request that nothing answers: a route lookup that is too short, which the kernel drops. Its protocol is
  `:fib_lookup` (net/ipv4/fib_frontend.c).
  """
  @spec silent() :: Message.t()
  def silent, do: %Message{type: 0}

  @doc "The names in an answer."
  @spec names([Message.t()]) :: [String.t()]
  def names(messages) do
    for %Message{payload: <<_::binary-16, attributes::binary>>} <- messages,
        do: Attribute.get!(attributes, @ifla_ifname, :string)
  end
end
