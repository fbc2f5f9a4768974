defmodule Nlns.InfoTest do
  use Nlns.NetnsCase

  @keys ~w(max_helpers idle_timeout max_queue helpers stuck paths waiting opened exchanged failed refused cancelled
           closing held_back max_closing entered woken started died)a
  @helper_keys ~w(id state path pinned_ms served)a

  test "there are these keys, for the pool and for each helper, and each is documented" do
    assert %{helpers: [helper | _]} = info = Nlns.info()
    assert Enum.sort(Map.keys(info)) == Enum.sort(@keys)
    assert Enum.sort(Map.keys(helper)) == Enum.sort(@helper_keys)

    {:docs_v1, _, _, _, _, _, docs} = Code.fetch_docs(Nlns)
    docs = for {{:type, name, 0}, _, _, %{"en" => text}, _} <- docs, into: %{}, do: {name, text}

    for {map, type} <- [{info, :info}, {helper, :helper}], key <- Map.keys(map) do
      assert docs[type] =~ "`#{key}`", "#{key} is not documented in #{type}"
    end
  end

  test "the types name every key that there is" do
    {:ok, types} = Code.Typespec.fetch_types(Nlns)

    for {type, keys} <- [info: @keys, helper: @helper_keys] do
      [fields] = for {:type, {^type, {:type, _, :map, fields}, []}} <- types, do: fields
      named = for {:type, _, :map_field_exact, [{:atom, _, key}, _]} <- fields, do: key
      assert Enum.sort(named) == Enum.sort(keys)
    end
  end

  test "the configuration is what it was started with" do
    restart(max_helpers: 3, idle_timeout: 70, max_queue: 9)
    assert %{max_helpers: 3, idle_timeout: 70, max_queue: 9} = Nlns.info()
    restart(idle_timeout: :infinity)
    assert %{idle_timeout: :infinity} = Nlns.info()
    start_with([])
    assert %{max_helpers: 256, idle_timeout: 1_000, max_queue: 10_000} = Nlns.info()
  end

  test "a pool that has done nothing has one helper and has counted nothing" do
    restart([])
    # The manager counts it once its thread runs, and nobody waits for that.
    eventually(fn -> assert Nlns.info().started == 1 end)

    assert %{paths: 0, waiting: 0, stuck: 0, opened: 0, failed: 0, refused: 0, cancelled: 0} =
             Nlns.info()

    assert %{entered: 0, started: 1, died: 0, helpers: [helper]} = Nlns.info()
    assert %{state: :parked, path: nil, pinned_ms: nil, served: 0} = helper
  end

  test "each answer is counted once, by what it was" do
    # One helper, or a second may enter in the place of one that gets no processor.
    restart(idle_timeout: :infinity, max_helpers: 1)
    path = netns()

    for _ <- 1..3, do: Nlns.close_fd(elem(Nlns.open_in_netns(path, 0), 1))
    for _ <- 1..2, do: Nlns.open_in_netns(path, 999)
    Nlns.open_in_netns(path <> "-not", 0)
    for _ <- 1..4, do: Nlns.open_in_netns("a\0b", 0)

    for _ <- 1..2, do: Nlns.open_fd({:pid, 2_147_483_647}, :inet, :dgram, :udp)

    assert %{opened: 3, failed: 9, refused: 0, entered: 1, died: 0} = Nlns.info()
    Nlns.release(path)
  end

  test "a helper says where it is, for how long, and what it has done" do
    restart(idle_timeout: :infinity, max_helpers: 1)
    path = netns()
    started = System.monotonic_time(:millisecond)
    for _ <- 1..5, do: cookie_at(path)

    eventually(fn ->
      assert [%{state: :pinned, served: 5, pinned_ms: ms}] = at(path)
      assert ms >= 5 and ms <= System.monotonic_time(:millisecond) - started
    end)

    assert %{paths: 1, waiting: 0} = Nlns.info()
    assert Nlns.release(path) == :ok
    assert at(path) == []
    eventually(fn -> assert %{paths: 0} = Nlns.info() end)
  end

  test "waiting requests are counted until they are served" do
    path = netns()

    waiting =
      for _ <- 1..100 do
        requests = for _ <- 1..100, do: Nlns.open_in_netns_async(path, 999)
        %{waiting: waiting, paths: paths} = Nlns.info()
        assert waiting in 0..100 and paths in 0..1
        for request <- requests, do: Nlns.await(request)
        waiting
      end

    assert Enum.max(waiting) > 0
    eventually(fn -> assert %{waiting: 0} = Nlns.info() end)
  end

  test "helpers have each an id that is not used again" do
    restart(idle_timeout: :infinity)
    paths = for _ <- 1..4, do: netns()
    pin(paths)
    %{helpers: helpers, started: started} = Nlns.info()
    ids = Enum.map(helpers, & &1.id)
    assert ids == Enum.uniq(ids)
    assert Enum.all?(ids, &(&1 in 1..started))
    Enum.each(paths, &Nlns.release/1)
  end

  test "it can be asked from everywhere at once while the pool is busy" do
    path = netns()
    users = for _ <- 1..10, do: Task.async(fn -> for _ <- 1..50, do: cookie_at(path) end)
    askers = for _ <- 1..10, do: Task.async(fn -> for _ <- 1..200, do: %{} = Nlns.info() end)
    Task.await_many(users ++ askers, :infinity)
  end

  defp at(path), do: Enum.filter(Nlns.info().helpers, &(&1.path == path))
end
