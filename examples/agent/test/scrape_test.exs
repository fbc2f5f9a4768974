defmodule NetnsAgent.ScrapeTest do
  use NetnsAgent.Test.AgentCase, async: false

  alias NetnsAgent.{Config, Link, Namespace, Scrape}

  defp namespace(places, id \\ "x"), do: %Namespace{id: id, inode: 1, places: List.wrap(places)}

  defp scrape(places, settings \\ []) do
    Scrape.run(namespace(places), Config.new!(settings))
  end

  defp path(name), do: "/run/netns/" <> name

  test "counters are those that ip shows" do
    {one, other} = {netns(), netns()}
    Netns.connect(one, other)
    Netns.up_loopback(one)
    Netns.send_udp(one, {10, 99, 0, 2}, 700, 50)
    Netns.send_udp(one, {127, 0, 0, 1}, 100, 7)

    for name <- [one, other] do
      # The kernel sends neighbour discovery when it likes: compare in a moment of quiet.
      {read, shown} =
        eventually(fn ->
          before = Netns.counters(name)
          {:ok, reading} = scrape(path(name))
          if before == Netns.counters(name), do: {reading, before}
        end)

      assert shown == Map.new(read.links, &{&1.name, &1.counters})
      refute read.more?
    end

    assert %{"to2" => %{tx_packets: sent}} = Netns.counters(one)
    assert sent >= 50
  end

  test "what is down is known as down" do
    {one, other} = {netns(), netns()}
    Netns.connect(one, other)
    {:ok, %{links: links}} = scrape(path(one))
    assert [{"lo", false}, {"to2", true}] == links |> Enum.map(&{&1.name, &1.up?}) |> Enum.sort()
  end

  test "hundreds of interfaces are read, and more than the limit only up to it" do
    name = netns()
    batch = Path.join(System.tmp_dir!(), unique())
    on_exit(fn -> File.rm(batch) end)
    lines = for n <- 1..150, do: "link add a#{n} type veth peer name b#{n}\n"
    File.write!(batch, lines)
    Netns.ip!(["-n", name, "-batch", batch])

    assert {:ok, %{links: links, more?: false}} = scrape(path(name), max_interfaces: 301)
    assert 301 == links |> Enum.uniq_by(& &1.name) |> length()
    assert {:ok, %{links: links, more?: true}} = scrape(path(name), max_interfaces: 300)
    assert 300 == length(links)
  end

  test "the cookie tells a namespace from the next one with its name" do
    name = netns()
    {:ok, %{cookie: first}} = scrape(path(name))
    assert is_integer(first)
    {:ok, %{cookie: ^first}} = scrape(path(name))
    Netns.ip!(["netns", "del", name])
    Netns.ip!(["netns", "add", name])
    {:ok, %{cookie: second}} = scrape(path(name))
    assert first != second
  end

  test "a process is asked for what it is called" do
    assert {:ok, %{command: "cat"}} = scrape({:pid, Netns.process()})
  end

  test "if a process has ended, another one leads there" do
    dead = Netns.process()
    alive = Netns.process()
    Netns.kill(dead)
    eventually(fn -> not File.exists?("/proc/#{dead}/ns/net") end)
    assert {:ok, _} = scrape([{:pid, dead}, {:pid, alive}])
    assert :gone == scrape([{:pid, dead}])
  end

  test "a failure says where and why" do
    assert {:error, {:setns, text}} = scrape(path(Netns.broken()))
    assert text =~ "no network namespace"
    assert :gone == scrape(path(unique()))
  end

  test "rates are per second, and missing where a counter went down" do
    zero = Map.new(Link.counters(), &{&1, 0})

    before = %Link{
      index: 1,
      name: "x",
      up?: true,
      counters: %{zero | rx_bytes: 100, tx_bytes: 500}
    }

    now = %{before | counters: %{zero | rx_bytes: 600, tx_bytes: 10}}
    rates = Link.with_rates(now, before, 250).rates
    assert 2_000.0 == rates.rx_bytes
    refute is_map_key(rates, :tx_bytes)
    assert %{} == Link.with_rates(now, %{before | index: 2}, 250).rates
    assert %{} == Link.with_rates(now, nil, 250).rates
  end
end
