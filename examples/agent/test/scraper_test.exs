defmodule NetnsAgent.ScraperTest do
  use NetnsAgent.Test.AgentCase, async: false

  alias NetnsAgent.{Config, Discovery.Namespace, Scraper, Store}

  setup do
    # Stopped last, with the tables.
    start_supervised!({Agent, &Store.new/0})
    :ok
  end

  defp put(id) do
    Store.put(%Namespace{id: id, identity: {:erlang.phash2(id), nil}, paths: ["/" <> id]})
  end

  # What it does is in the path.
  defp read(paths, config) do
    options = [max_concurrency: config.concurrency, timeout: :infinity, ordered: false]
    paths |> Task.async_stream(&{&1, one(&1, config)}, options) |> Stream.map(&elem(&1, 1))
  end

  defp one("/hangs" <> _, config) do
    Process.sleep(config.scrape_timeout)
    {:error, {:timeout, "no answer"}}
  end

  defp one("/gone" <> _, _config), do: :gone
  defp one("/fails" <> _, _config), do: {:error, {:netlink, "why"}}
  defp one(_path, _config), do: {:ok, [], false}

  defp sample(id), do: with({:ok, {_namespace, sample}} <- Store.fetch(id), do: sample)

  defp start(settings, read \\ &read/2) do
    config = Config.new!(settings)

    for lane <- [:fresh, :healthy, :failing],
        do: start_supervised!({Scraper, {lane, config, read}})

    Scraper.fresh()
  end

  test "each namespace's failure is its own" do
    Enum.each(~w(hangs good1 gone fails good2), &put/1)
    start(scrape_timeout: 100, concurrency: 2, scrape_every: 60_000)
    eventually(fn -> Store.labelled(:rounds) == [fresh: 1] end)
    assert %{error: nil} = sample("good1")
    assert %{error: nil} = sample("good2")
    assert %{error: {:timeout, _}} = sample("hangs")
    assert %{error: {:netlink, "why"}} = sample("fails")
    assert nil == sample("gone")
    assert [netlink: 1, timeout: 1] == Store.labelled(:failures)
  end

  test "a process that has ended is no failure while another leads there" do
    # Two that are nowhere, and one that is.
    Store.put(%Namespace{id: "pid:1", identity: {1, nil}, paths: ["/gone1", "/gone2", "/proc"]})
    start(scrape_every: 60_000)
    eventually(fn -> match?(%{error: nil}, sample("pid:1")) end)
    assert 1 == Store.get(:scrapes)
  end

  test "a namespace that went while it was read stays gone" do
    put("good")

    away = fn paths, config ->
      Stream.each(read(paths, config), fn _ -> Store.delete("good") end)
    end

    start([scrape_every: 60_000], away)
    eventually(fn -> Store.get(:scrapes) == 1 end)
    assert :error == Store.fetch("good")
  end

  test "namespaces that come while others are read for the first time are read next, and once" do
    test = self()

    told = fn paths, config ->
      send(test, {:read, paths})
      read(paths, config)
    end

    put("hangs")
    start([scrape_timeout: 200, scrape_every: 60_000], told)
    assert_receive {:read, ["/hangs"]}
    put("gone")
    Scraper.fresh()
    assert_receive {:read, ["/gone"]}
    refute_receive {:read, _}, 100
  end

  test "a round that crashes is said, and the next one is on time" do
    put("good")

    crash = fn paths, config ->
      if Store.count(:tries) > 3, do: read(paths, config), else: raise("no")
    end

    log =
      ExUnit.CaptureLog.capture_log(fn ->
        start([scrape_every: 20], crash)
        eventually(fn -> sample("good") end)
      end)

    assert log =~ "(RuntimeError) no"
  end

  test "namespaces that hang make only each other wait" do
    test = self()

    # They time out the first time, and never answer again.
    hang = fn ["/" <> id | _] = paths, config ->
      if match?(%{error: {:timeout, _}}, sample(id)) do
        send(test, :hangs)
        Process.sleep(:infinity)
      end

      read(paths, config)
    end

    for n <- 1..8, do: put("hangs#{n}")
    start([scrape_every: 50, scrape_timeout: 10, concurrency: 2], hang)
    assert_receive :hangs
    for n <- 1..10, do: put("good#{n}")
    Scraper.fresh()
    eventually(fn -> Enum.all?(1..10, &sample("good#{&1}")) end)

    rounds = fn -> :rounds |> Store.labelled() |> Map.new() |> Map.get(:healthy, 0) end
    before = rounds.()
    eventually(fn -> rounds.() >= before + 10 end)
    # Of those that hang none was read a second time meanwhile.
    eventually(fn -> [timeout: 8] == Store.labelled(:failures) end)
  end

  test "a scraper that crashes begins again where it was" do
    put("good")
    start(scrape_every: 20)
    eventually(fn -> sample("good") end)
    %{at: at} = sample("good")
    Process.exit(Process.whereis(Scraper.name(:healthy)), :kill)
    eventually(fn -> sample("good").at > at + 20 end)
  end
end
