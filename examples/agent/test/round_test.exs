defmodule NetnsAgent.RoundTest do
  use NetnsAgent.Test.AgentCase, async: false

  alias NetnsAgent.{Config, Namespace, Round, Scraper, Store}

  setup do
    start_supervised!(Store)
    start_supervised!({Task.Supervisor, name: NetnsAgent.Tasks})
    :ok
  end

  defp put(id) do
    namespace = %Namespace{id: id, inode: :erlang.phash2(id), places: ["/" <> id]}
    Store.put(namespace)
    namespace
  end

  # What it does is in the name.
  defp scrape(%{id: "hangs" <> _}, _config), do: Process.sleep(:infinity)
  defp scrape(%{id: "crashes" <> _}, _config), do: raise("no")
  defp scrape(%{id: "gone" <> _}, _config), do: :gone
  defp scrape(%{id: "fails" <> _}, _config), do: {:error, {:netlink, "why"}}

  defp scrape(%{id: "eats" <> _}, _config), do: Enum.to_list(1..10_000_000)

  defp scrape(_namespace, _config) do
    {:ok, %{links: [], more?: false, cookie: 1, command: nil}}
  end

  defp sample(id), do: with({:ok, {_namespace, sample}} <- Store.fetch(id), do: sample)

  test "each namespace's failure is its own" do
    namespaces = Enum.map(~w(hangs good1 crashes eats gone fails good2), &put/1)
    config = Config.new!(scrape_timeout: 500, concurrency: 2)
    assert :ok == Round.run(namespaces, config, &scrape/2)

    assert %{error: nil} = sample("good1")
    assert %{error: nil} = sample("good2")
    assert %{error: {:timeout, _}, failures: 1} = sample("hangs")
    assert %{error: {:crash, _}} = sample("crashes")
    assert %{error: {:crash, _}} = sample("eats")
    assert %{error: {:netlink, "why"}} = sample("fails")
    assert nil == sample("gone")
    assert 0 == Supervisor.count_children(NetnsAgent.Tasks).active
  end

  test "no more at once than the bound" do
    test = self()

    slow = fn namespace, config ->
      send(test, {:running, Supervisor.count_children(NetnsAgent.Tasks).active})
      Process.sleep(5)
      scrape(namespace, config)
    end

    namespaces = for n <- 1..50, do: put("good#{n}")
    Round.run(namespaces, Config.new!(concurrency: 3), slow)
    running = for _ <- 1..50, do: assert_receive({:running, n}, 0) && n
    assert Enum.max(running) <= 3
  end

  test "a namespace that went while it was read stays gone" do
    namespace = put("good")

    away = fn namespace, config ->
      Store.delete(namespace.id)
      scrape(namespace, config)
    end

    Round.run([namespace], Config.new!([]), away)
    assert :error == Store.fetch("good")
  end

  test "namespaces that hang make only each other wait" do
    config = Config.new!(scrape_every: 50, scrape_timeout: 100, concurrency: 2)
    for n <- 1..8, do: put("hangs#{n}")
    start_supervised!(%{id: :s, start: {Scraper, :start_link, [config, &scrape/2]}})
    Scraper.fresh()
    eventually(fn -> Enum.all?(1..8, &sample("hangs#{&1}")) end)
    for n <- 1..10, do: put("good#{n}")
    Scraper.fresh()
    eventually(fn -> Enum.all?(1..10, &sample("good#{&1}")) end, 1_000)

    rounds = fn -> :rounds |> Store.labelled() |> Map.new() |> Map.get(:healthy, 0) end
    before = rounds.()
    started = System.monotonic_time(:millisecond)
    eventually(fn -> rounds.() >= before + 10 end)
    # A round every 50 ms, while each of those that hang takes more than two seconds.
    assert System.monotonic_time(:millisecond) - started < 1_500
  end

  test "a scraper that crashes begins again where it was" do
    config = Config.new!(scrape_every: 20)
    put("good")
    start_supervised!(%{id: :s, start: {Scraper, :start_link, [config, &scrape/2]}})
    eventually(fn -> sample("good") end)
    %{at: at} = sample("good")
    Process.exit(Process.whereis(Scraper), :kill)
    eventually(fn -> sample("good").at > at + 20 end)
  end
end
