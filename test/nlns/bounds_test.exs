defmodule Nlns.BoundsTest do
  use Nlns.NetnsCase

  @refused {:error, {:thread, 11}}

  test "more paths than helpers are served by turns, and there are never more helpers" do
    restart(max_helpers: 2)
    paths = for _ <- 1..6, do: netns()
    cookies = Map.new(paths, &{&1, cookie_at(&1)})
    assert Enum.uniq(Map.values(cookies)) == Map.values(cookies)

    callers =
      for path <- paths, _ <- 1..5 do
        Task.async(fn -> {path, for(_ <- 1..40, do: cookie_at(path))} end)
      end

    watcher = Task.async(fn -> count_helpers_until_told(0) end)
    answers = Task.await_many(callers, :infinity)
    send(watcher.pid, :told)
    assert Task.await(watcher, within()) in 1..2

    for {path, seen} <- answers, do: assert(Enum.uniq(seen) == [cookies[path]])
    assert length(Nlns.info().helpers) <= 2
  end

  test "a single helper serves every path" do
    restart(max_helpers: 1, idle_timeout: :infinity)
    paths = for _ <- 1..4, do: netns()
    on_exit(fn -> Enum.each(paths, &Nlns.release/1) end)
    cookies = Enum.map(paths, &cookie_at/1)
    for _ <- 1..10, do: assert(Enum.map(paths, &cookie_at/1) == cookies)
    assert [_] = Proc.helper_threads()
    assert [_] = Nlns.info().helpers
  end

  test "a helper that would stay for ever gives way to a path that has none" do
    restart(max_helpers: 2, idle_timeout: :infinity)
    [third | two] = for _ <- 1..3, do: netns()
    on_exit(fn -> Enum.each([third | two], &Nlns.release/1) end)
    pin(two)
    pin([third])
    assert length(Proc.threads_outside()) == 2
    for path <- two, do: assert("lo" in links_at(path))
  end

  test "a full queue refuses at once, in both ways, and what it took is answered" do
    restart(max_queue: 1)
    path = netns()
    requests = for _ <- 1..1_000, do: Nlns.open_in_netns_async(path, 999)
    answers = Enum.map(requests, &Nlns.await/1)
    {refused, served} = Enum.split_with(answers, &(&1 == @refused))
    assert refused != []
    assert Enum.uniq(served) == [{:error, {:socket, 93}}]
    assert Nlns.info().refused == length(refused)

    assert Enum.any?(1..1_000, fn _ -> sync_refused?(path) end)

    # When it is empty again, it takes again.
    assert {:ok, fd} = Nlns.open_in_netns(path, 0)
    Nlns.close_fd(fd)
  end

  test "a full queue is that path's alone" do
    restart(max_queue: 5)
    [path, other] = [netns(), netns()]
    requests = for _ <- 1..2_000, do: Nlns.open_in_netns_async(path, 999)
    assert {:ok, fd} = Nlns.open_in_netns(other, 0)
    Nlns.close_fd(fd)
    assert @refused in Enum.map(requests, &Nlns.await/1)
  end

  test "a full queue refuses no release" do
    restart(max_queue: 1, idle_timeout: :infinity)
    path = netns()
    requests = for _ <- 1..100, do: Nlns.open_in_netns_async(path, 999)
    assert Nlns.release(path) == :ok
    assert Proc.threads_in(path) == 0
    for request <- requests, do: assert({:error, _} = Nlns.await(request, 0))
  end

  defp count_helpers_until_told(most) do
    most = max(most, length(Proc.helper_threads()))

    receive do
      :told -> most
    after
      0 -> count_helpers_until_told(most)
    end
  end

  # Whether a synchronous open is refused behind two asynchronous ones; false if those were served
  # so quickly that it was not.
  defp sync_refused?(path) do
    requests = for _ <- 1..2, do: Nlns.open_in_netns_async(path, 999)
    answer = Nlns.open_in_netns(path, 999)
    for request <- requests, do: Nlns.await(request)
    assert answer in [@refused, {:error, {:socket, 93}}]
    answer == @refused
  end
end
