defmodule NetnsAgent.FollowTest do
  use NetnsAgent.Test.AgentCase, async: false

  alias NetnsAgent.Store

  test "namespaces are followed as they come and go" do
    start_agent()
    before = netns()
    await_sample(before)
    assert [{%{id: ^before}, _}] = NetnsAgent.namespaces()

    other = netns()
    assert %{error: nil, links: [%{name: "lo"}]} = await_sample(other)

    Netns.ip!(["netns", "del", before])
    eventually(fn -> Store.fetch(before) == :error end)
    assert [{%{id: ^other}, _}] = NetnsAgent.namespaces()
    assert {2, 1} == {Store.get(:came), Store.get(:gone)}
  end

  test "a process's namespace is followed until the process ends" do
    pid = Netns.process()
    id = "pid:#{pid}"
    start_agent(proc: "/proc", only: "^#{id}$")
    assert %{error: nil} = await_sample(id)
    {200, _, body} = get("/namespaces")
    assert body =~ ~s("command":"cat")
    Netns.kill(pid)
    eventually(fn -> Store.fetch(id) == :error end)
  end

  test "rates appear with the second scrape, and are what was sent" do
    {one, other} = {netns(), netns()}
    Netns.connect(one, other)

    # Scraped when the test says so, and not in the middle of a datagram, whose bytes and number are two counters.
    start_agent(scrape_every: 60_000)
    first = await_sample(one)
    assert %{} == to2(first).rates

    # 1,000 bytes and 42 of headers each.
    Netns.send_udp(one, {10, 99, 0, 2}, 1_000, 50)
    second = scrape_after(first, one)
    sent = &round(to2(second).rates[&1] * (second.at - first.at) / 1_000)
    assert {50, 50 * 1_042} == {sent.(:tx_packets), sent.(:tx_bytes)}

    assert 0.0 == to2(scrape_after(second, one)).rates.tx_bytes
    assert NetnsAgent.summary().namespaces == 2
  end

  defp to2(sample), do: Enum.find(sample.links, &(&1.name == "to2"))

  defp scrape_after(%{at: before}, id) do
    eventually(fn -> System.monotonic_time(:millisecond) > before end)
    send(NetnsAgent.Scraper.name(:healthy), :timeout)
    await_sample(id, &(&1.at > before))
  end

  test "a namespace made anew under the same name is another one" do
    {one, other} = {netns(), netns()}
    Netns.connect(one, other)
    Netns.send_udp(one, {10, 99, 0, 2}, 1_000, 100)
    start_agent()
    %{links: [_, _]} = await_sample(one)
    {:ok, {%{identity: {_, made} = first}, _}} = Store.fetch(one)
    # Its inode may be the same, and the time at which that was made has no more than seconds.
    eventually(fn -> System.os_time(:second) > made end)
    Netns.ip!(["netns", "del", one])
    Netns.ip!(["netns", "add", one])
    eventually(fn -> match?({:ok, {%{identity: i}, _}} when i != first, Store.fetch(one)) end)
    assert [%{name: "lo", rates: rates}] = await_sample(one).links
    for {_, rate} <- rates, do: assert(rate >= 0)
  end

  test "a namespace that is none does not disturb the others" do
    good = netns()
    start_agent()
    await_sample(good)
    bad = Netns.broken()
    assert %{error: {:setns, _}, links: []} = await_sample(bad)
    # It is tried again and again.
    failures = fn -> Store.labelled(:failures)[:setns] end
    before = failures.()
    eventually(fn -> failures.() >= before + 2 end)
    %{at: at} = await_sample(good)
    assert %{error: nil} = await_sample(good, &(&1.at > at))
    assert %{failing: 1, ok: 1} = NetnsAgent.summary()
  end

  test "a namespace that fails and is good again is healthy again" do
    name = Netns.broken()
    start_agent()
    await_sample(name, &(&1.error != nil))
    Netns.ip!(["netns", "del", name])
    Netns.ip!(["netns", "add", name])
    assert %{links: [%{name: "lo"}]} = await_sample(name, &is_nil(&1.error))
  end

  test "nothing is held: deleted namespaces are gone for good while the agent goes on" do
    yard = netns()
    start_agent()
    names = for _ <- 1..5, do: netns()
    lines = for name <- names, do: Netns.life_line(yard, name)
    for name <- names, do: await_sample(name)
    for name <- names, do: Netns.ip!(["netns", "del", name])
    eventually(fn -> not Enum.any?(lines, &Netns.alive?(yard, &1)) end)
  end

  test "stopping leaves no thread, no descriptor and no namespace" do
    {yard, name} = {netns(), netns()}
    line = Netns.life_line(yard, name)
    start_agent()
    await_sample(name)

    # The first time loads code and opens what the VM opens once. Helpers keep sockets where they are.
    Application.stop(:netns_agent)
    Application.stop(:nlns)
    before = sockets()

    start_agent()
    await_sample(name)
    assert {200, _, _} = get("/metrics")
    port = NetnsAgent.Http.port()
    assert :ok == Application.stop(:netns_agent)
    assert {:error, :econnrefused} = :gen_tcp.connect({127, 0, 0, 1}, port, [])

    assert :ok == Application.stop(:nlns)
    assert [] == helpers()
    eventually(fn -> sockets() <= before end)
    {:ok, _} = Application.ensure_all_started(:nlns)

    Netns.ip!(["netns", "del", name])
    eventually(fn -> not Netns.alive?(yard, line) end)
  end

  test "any process of the agent may crash; it goes on" do
    name = netns()
    start_agent()
    await_sample(name)

    for process <- [
          NetnsAgent.Discovery,
          NetnsAgent.Scraper.name(:healthy),
          NetnsAgent.Metrics,
          NetnsAgent.Connections
        ] do
      pid = Process.whereis(process)
      Process.exit(pid, :kill)
      eventually(fn -> Process.whereis(process) not in [nil, pid] end)
      %{at: at} = await_sample(name)
      await_sample(name, &(&1.error == nil and &1.at > at))
      eventually(fn -> served?() end)
    end
  end

  # While the connections' supervisor is being started anew, one may be closed without an answer.
  defp served? do
    match?({200, _, _}, get("/metrics"))
  rescue
    _ -> false
  end

  defp helpers do
    for task <- File.ls!("/proc/self/task"),
        {:ok, "nlns" <> _ = name} <- [File.read("/proc/self/task/#{task}/comm")],
        do: name
  end

  defp sockets do
    links = for fd <- File.ls!("/proc/self/fd"), do: File.read_link("/proc/self/fd/#{fd}")
    Enum.count(links, &match?({:ok, "socket:" <> _}, &1))
  end
end
