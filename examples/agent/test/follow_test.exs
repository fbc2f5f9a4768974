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
    # Finds the neighbour, so that nothing but datagrams follows.
    Netns.send_udp(one, {10, 99, 0, 2}, 1_000, 1)
    start_agent()
    # 10 datagrams of 1,000 bytes and 42 of headers every 20 ms.
    sender = Task.async(fn -> send_for(one, 100) end)
    rate = fn sample -> Enum.find(sample.links, &(&1.name == "to2")).rates[:tx_bytes] || 0 end
    %{links: links} = await_sample(one, &(rate.(&1) > 100_000))
    link = Enum.find(links, &(&1.name == "to2"))

    # Bytes and packets are read one after the other, so one of some ten datagrams may be in one of them only.
    assert_in_delta link.rates.tx_bytes / link.rates.tx_packets, 1_042, 110
    Task.await(sender, 60_000)
    await_sample(one, &(rate.(&1) < 10_000))
    assert NetnsAgent.summary().namespaces == 2
  end

  defp send_for(name, times) do
    for _ <- 1..times do
      Netns.send_udp(name, {10, 99, 0, 2}, 1_000, 10)
      Process.sleep(20)
    end
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
    # The first time loads code and opens what the VM opens once.
    Application.stop(:netns_agent)
    before = sockets()

    start_agent()
    await_sample(name)
    assert {200, _, _} = get("/metrics")
    port = NetnsAgent.Http.port()
    assert :ok == Application.stop(:netns_agent)
    eventually(fn -> sockets() == before end)
    assert {:error, :econnrefused} = :gen_tcp.connect({127, 0, 0, 1}, port, [])

    assert :ok == Application.stop(:nlns)
    assert [] == helpers()
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
