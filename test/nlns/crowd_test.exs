defmodule Nlns.CrowdTest do
  use Nlns.NetnsCase

  test "1,000 concurrent callers each get what they asked for where they asked for it" do
    paths = for _ <- 1..10, do: netns()
    cookies = Map.new(paths, &{&1, cookie_at(&1)})

    # Not more sockets than 1,024 descriptors allow, should all be open at once.
    callers =
      for path <- paths, n <- 1..100 do
        Task.async(fn ->
          receive(do: (:go -> :ok))
          if n <= 80, do: {path, cookie_at(path)}, else: Nlns.open_in_netns(path, 999)
        end)
      end

    for caller <- callers, do: send(caller.pid, :go)
    answers = Task.await_many(callers, within())
    {good, bad} = Enum.split_with(answers, &is_map_key(cookies, elem(&1, 0)))
    for {path, cookie} <- good, do: assert(cookie == cookies[path])
    assert {length(good), Enum.frequencies(bad)} == {800, %{{:error, {:socket, 93}} => 200}}
  end

  test "500 concurrent callers of one path each get a socket of their own" do
    path = netns()
    callers = for _ <- 1..500, do: Task.async(fn -> Nlns.open_in_netns(path, 0) end)
    fds = for {:ok, fd} <- Task.await_many(callers, within()), do: fd
    assert length(Enum.uniq(fds)) == 500
    Enum.each(fds, &Nlns.close_fd/1)
  end

  test "the callers of a good path do not notice that 5,000 ask for bad ones" do
    path = netns()
    bad = for n <- 1..5_000, do: Nlns.open_in_netns_async("#{path}-not-#{rem(n, 50)}", 0)
    for _ <- 1..20, do: assert({:ok, _} = closed(Nlns.open_in_netns(path, 0, within())))
    for request <- bad, do: assert(Nlns.await(request) == {:error, {:open, 2}})
  end

  test "a caller with a million unread messages waits no longer than one with none" do
    path = netns()

    measure = fn ->
      for(_ <- 1..50, do: elem(:timer.tc(fn -> closed(Nlns.open_in_netns(path, 0)) end), 0))
      |> Enum.min()
    end

    flooded =
      Task.async(fn ->
        for n <- 1..1_000_000, do: send(self(), {:unread, n})

        {looking_at_all, :ok} =
          :timer.tc(fn -> receive(do: (:never -> :no), after: (0 -> :ok)) end)

        assert measure.() < div(looking_at_all, 4)
        assert {:message_queue_len, 1_000_000} = Process.info(self(), :message_queue_len)
      end)

    Task.await(flooded, :infinity)
  end

  test "a path with many waiting requests does not keep another path waiting" do
    [busy, other] = [netns(), netns()]
    assert Enum.any?(1..100, fn _ -> overtakes?(busy, other) end)
  end

  # Whether one request is answered long before the 600 that were made before it; false also if those
  # were served so quickly that there was nothing to overtake.
  defp overtakes?(busy, other) do
    crowd = for _ <- 1..600, do: Nlns.open_in_netns_async(busy, 0)
    {:message_queue_len, served} = Process.info(self(), :message_queue_len)
    %{ref: late} = Nlns.open_in_netns_async(other, 0)

    order =
      for _ <- 1..601 do
        assert_receive {:nlns, ref, {:ok, handle}}
        Handle.close(handle)
        ref
      end

    assert Enum.sort([late | Enum.map(crowd, & &1.ref)]) == Enum.sort(order)
    place = Enum.find_index(order, &(&1 == late))
    600 - served >= 300 and place - served <= 150
  end

  defp closed({:ok, fd} = opened) do
    Nlns.close_fd(fd)
    opened
  end
end
