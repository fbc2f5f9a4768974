defmodule NetnsAgent.ReadTest do
  use NetnsAgent.Test.AgentCase, async: false

  alias NetnsAgent.{Config, Netlink, Sample}

  defp read(path, settings \\ []) do
    assert [{^path, reading}] = Enum.to_list(Netlink.read([path], Config.new!(settings)))
    reading
  end

  defp path(name), do: "/run/netns/" <> name

  test "counters are those that ip shows" do
    {one, other} = {netns(), netns()}
    Netns.connect(one, other)
    Netns.up_loopback(one)
    Netns.send_udp(one, {10, 99, 0, 2}, 700, 50)
    Netns.send_udp(one, {127, 0, 0, 1}, 100, 7)

    for name <- [one, other] do
      # The peer may still be answering: compare in a moment of quiet.
      {links, shown} =
        eventually(fn ->
          before = Netns.counters(name)
          {:ok, links, false} = read(path(name))
          if before == Netns.counters(name), do: {links, before}
        end)

      assert shown == Map.new(links, &{&1.name, &1.counters})
    end

    assert %{"to2" => %{tx_packets: sent}} = Netns.counters(one)
    assert sent >= 50
  end

  test "what is down is known as down" do
    {one, other} = {netns(), netns()}
    Netns.connect(one, other)
    {:ok, links, false} = read(path(one))
    assert [{"lo", false}, {"to2", true}] == links |> Enum.map(&{&1.name, &1.up?}) |> Enum.sort()
  end

  test "two thousand interfaces are read, and more than the limit only up to it" do
    name = netns()
    batch = Path.join(System.tmp_dir!(), unique())
    on_exit(fn -> File.rm(batch) end)
    lines = for n <- 1..1_000, do: "link add a#{n} type veth peer name b#{n}\n"
    File.write!(batch, lines)
    Netns.ip!(["-n", name, "-batch", batch])

    assert {:ok, links, false} = read(path(name), max_interfaces: 2_001)
    assert 2_001 == links |> Enum.uniq_by(& &1.name) |> length()
    assert {:ok, links, true} = read(path(name), max_interfaces: 300)
    assert 300 == length(links)
    # Nothing keeps the megabytes that the names were in.
    for %{name: name} <- links, do: assert(:binary.referenced_byte_size(name) < 64)
  end

  test "interfaces whose names are not UTF-8 keep names of their own" do
    name = netns()
    pair = ["type", "veth", "peer", "name"]
    Netns.ip!(["-n", name, "link", "add", <<"a", 0xFF>>] ++ pair ++ [<<"a", 0xFE>>])
    Netns.ip!(["-n", name, "link", "add", "a\\xFF"] ++ pair ++ ["ü"])
    {:ok, links, false} = read(path(name))

    assert ["a\\\\xFF", "a\\xFE", "a\\xFF", "lo", "ü"] ==
             links |> Enum.map(& &1.name) |> Enum.sort()
  end

  test "a failure says where and why, and what is gone is gone" do
    assert {:error, {:setns, text}} = read(path(Netns.broken()))
    assert text =~ "EINVAL"
    assert :gone == read(path(unique()))
  end

  test "a refusal of the kernel is a failure of its namespace" do
    refused = fn [path], :route, _request, _options ->
      [{path, {:error, {:netlink, 13, %{index: 0, message: nil, offset: nil}}}}]
    end

    assert [{"x", {:error, {:netlink, text}}}] =
             Enum.to_list(Netlink.read(["x"], Config.new!([]), refused))

    assert text =~ "EACCES"
  end

  test "each namespace has its own answer, whatever becomes of the others" do
    names = for _ <- 1..20, do: netns()
    wrong = [path(Netns.broken()), path(unique())]
    paths = Enum.map(names, &path/1)
    readings = Map.new(Netlink.read(wrong ++ paths, Config.new!(concurrency: 4)))
    for path <- paths, do: assert({:ok, [%{name: "lo"}], false} = readings[path])
    assert [{:error, {:setns, _}}, :gone] = Enum.map(wrong, &readings[&1])
  end

  describe "rates" do
    defp link(counters) do
      zero = Map.new(Sample.counters(), &{&1, 0})
      %{index: 1, name: "x", up?: true, counters: Map.merge(zero, counters), rates: %{}}
    end

    test "are per second, and missing where a counter went down" do
      before = Sample.next(nil, {:ok, [link(%{rx_bytes: 100, tx_bytes: 500})], false}, 1_000)
      now = {:ok, [link(%{rx_bytes: 600, tx_bytes: 10})], false}
      assert [%{rates: rates}] = Sample.next(before, now, 1_250).links
      assert 2_000.0 == rates.rx_bytes
      refute is_map_key(rates, :tx_bytes)
    end

    test "are none for the first time, and after a failure" do
      now = {:ok, [link(%{rx_bytes: 600})], false}
      first = Sample.next(nil, now, 1_000)
      assert [%{rates: %{}}] = first.links
      failed = Sample.next(first, {:error, {:setns, "why"}}, 2_000)
      assert %{error: {:setns, "why"}, links: [%{rates: none}]} = failed
      assert %{} == none
    end
  end
end
