defmodule Nlns.Netlink.ChangesTest do
  # Requests that change something, and the kernel's own words where it refuses: rtnetlink(7).
  use Nlns.NetnsCase

  import Nlns.Compare

  alias Nlns.Netlink
  alias Nlns.Netlink.{Ack, Attribute, Message}

  @rtm_newlink 16
  @rtm_dellink 17
  @rtm_getlink 18
  @rtm_newaddr 20
  @iff_up 1

  @ifname 3
  @mtu 4
  # IFLA_LINKINFO of IFLA_INFO_KIND and IFLA_INFO_DATA; of the latter VETH_INFO_PEER
  @linkinfo 18
  @kind 1
  @data 2
  @peer 1

  # SOL_NETLINK with NETLINK_EXT_ACK and NETLINK_CAP_ACK
  @ext_ack {270, 11}
  @cap_ack {270, 10}

  @eexist 17
  @enodev 19
  @einval 22
  @erange 34
  @eopnotsupp 95

  setup do
    {:ok, path: netns()}
  end

  test "veth_is_added_set_up_and_deleted", %{path: path} do
    assert add_veth(path, "one", "two") == {:ok, []}
    assert %{"one" => one, "two" => two} = links(path)
    assert {one["link"], two["link"]} == {"two", "one"}
    refute "UP" in one["flags"]

    for link <- [one, two], do: assert(set_up(path, link["ifindex"]) == {:ok, []})
    for {name, link} <- links(path), name in ~w(one two), do: assert("UP" in link["flags"])

    assert add_address(path, one["ifindex"], <<192, 0, 2, 1>>) == {:ok, []}
    assert [%{"addr_info" => [address]}] = json!(path, "ip", ~w(-j -4 address show one))
    assert %{"local" => "192.0.2.1", "prefixlen" => 24} = address

    assert delete(path, one["ifindex"]) == {:ok, []}
    assert path |> links() |> Map.keys() == ["lo"]
  end

  test "echo_answers_with_what_was_made", %{path: path} do
    # What was made comes back before the acknowledgement.
    request = %{veth("one", "two") | flags: [:create, :excl, :echo]}
    assert {:ok, messages} = Netlink.execute(path, :route, request)

    made =
      for %{type: @rtm_newlink, payload: <<_::128, attributes::binary>>} <- messages,
          do: Attribute.get!(attributes, @ifname, :string)

    if :os.version() >= {6, 2, 0},
      do: assert("one" in made),
      else:
        Nlns.LeftOut.part(
          "links are not echoed (NLM_F_ECHO) by this kernel, which is older than 6.2"
        )

    assert %{"one" => _, "two" => _} = links(path)
  end

  test "list_stops_at_the_refused_request", %{path: path} do
    requests = [veth("one", "two"), veth("one", "three"), get_links()]
    assert {:error, {:netlink, @eexist, %{index: 1}}} = Netlink.execute(path, :route, requests)
    assert %{"one" => _, "two" => _} = links(path)

    # The dump tells what those before it have made.
    assert {:ok, messages} = Netlink.execute(path, :route, [veth("three", "four"), get_links()])

    names =
      for %{payload: <<_::128, attributes::binary>>} <- messages,
          do: Attribute.get!(attributes, @ifname, :string)

    assert Enum.sort(names) == ~w(four lo one three two)
  end

  test "refusal_says_errno_and_text", %{path: path} do
    assert {@eopnotsupp, %{message: "Unknown device type", index: 0}} =
             refusal(
               path,
               link([{@ifname, {:string, "x"}}, {@linkinfo, [{@kind, {:string, "nonsense"}}]}])
             )

    assert add_veth(path, "one", "two") == {:ok, []}

    assert {@einval, %{message: "mtu greater than device maximum"}} =
             refusal(path, link([{@ifname, {:string, "one"}}, {@mtu, {:u32, 70_000}}], []))

    assert %{"one" => %{"mtu" => 1500}} = links(path)
  end

  test "refusal_without_a_text_has_its_errno", %{path: path} do
    assert add_veth(path, "one", "two") == {:ok, []}
    assert {@eexist, %{message: nil, offset: nil}} = refusal(path, veth("one", "three"))

    assert {@enodev, %{message: nil}} =
             refusal(path, %Message{type: @rtm_dellink, payload: ifinfomsg(9_999)})
  end

  test "offset_leads_to_the_attribute_at_fault", %{path: path} do
    request =
      link([{@ifname, {:string, "x"}}, {@mtu, {:u16, 1400}}, {@linkinfo, [{@kind, "veth"}]}])

    assert {@erange, %{message: text, offset: offset}} = refusal(path, request)
    assert text == "Attribute failed policy validation"

    <<_::binary-size(offset), at_fault::binary>> = Message.encode(request)
    assert [{@mtu, <<1400::native-16>>} | _] = Attribute.decode!(at_fault)
  end

  test "verdict_on_a_socket_of_ones_own_is_decoded", %{path: path} do
    {:ok, socket} = Nlns.open_socket(path, :netlink, :raw, 0)
    :ok = :socket.setopt_native(socket, @ext_ack, <<1::native-32>>)
    request = link([{@ifname, {:string, "x"}}, {@mtu, {:u16, 1400}}])
    sent = %{request | flags: [:request, :ack, :create], seq: 7}

    for {option, echoed} <- [{0, request.payload}, {1, ""}] do
      :ok = :socket.setopt_native(socket, @cap_ack, <<option::native-32>>)
      :ok = :socket.send(socket, Message.encode(sent))
      {:ok, answer} = :socket.recv(socket, 0, within())
      assert [%Message{type: :error, seq: 7} = message] = Message.decode!(answer)

      ack = Ack.decode!(message)
      assert {ack.errno, ack.offset} == {@erange, 40}
      assert ack.message == "Attribute failed policy validation"
      # What the attribute should be: NL_ATTR_TYPE_U32, since Linux 5.10.
      assert %{type: 4, max_value_u: 0xFFFFFFFF} = ack.policy
      assert %Message{type: @rtm_newlink, seq: 7, payload: ^echoed} = ack.request
    end

    :ok = :socket.close(socket)
  end

  defp refusal(path, request) do
    assert {:error, {:netlink, errno, details}} = Netlink.execute(path, :route, request)
    {errno, details}
  end

  defp add_veth(path, name, peer), do: Netlink.execute(path, :route, veth(name, peer))

  defp veth(name, peer) do
    peer = ifinfomsg() <> Attribute.encode([{@ifname, {:string, peer}}])
    info = [{@kind, {:string, "veth"}}, {@data, [{@peer, peer}]}]
    link([{@ifname, {:string, name}}, {@linkinfo, info}])
  end

  defp link(attributes, flags \\ [:create, :excl]) do
    payload = ifinfomsg() <> Attribute.encode(attributes)
    %Message{type: @rtm_newlink, flags: flags, payload: payload}
  end

  defp get_links, do: %Message{type: @rtm_getlink, flags: :dump, payload: ifinfomsg()}

  defp set_up(path, index) do
    request = %Message{type: @rtm_newlink, payload: ifinfomsg(index, @iff_up)}
    Netlink.execute(path, :route, request)
  end

  defp delete(path, index),
    do: Netlink.execute(path, :route, %Message{type: @rtm_dellink, payload: ifinfomsg(index)})

  # struct ifaddrmsg, IFA_LOCAL
  defp add_address(path, index, address) do
    payload = <<2, 24, 0, 0, index::native-32>> <> Attribute.encode([{2, address}])
    request = %Message{type: @rtm_newaddr, flags: [:create, :excl], payload: payload}
    Netlink.execute(path, :route, request)
  end

  # struct ifinfomsg: family, padding, type, index, flags, which flags to change
  defp ifinfomsg(index \\ 0, flags \\ 0),
    do: <<0::32, index::native-32, flags::native-32, flags::native-32>>

  defp links(path), do: Map.new(json!(path, "ip", ~w(-j link)), &{&1["ifname"], &1})
end
