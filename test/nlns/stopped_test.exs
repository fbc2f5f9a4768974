defmodule Nlns.StoppedTest do
  use Nlns.NetnsCase

  @stopped {:error, {:thread, 108}}

  setup do
    before = Application.get_all_env(:nlns)
    on_exit(fn -> start_with(before) end)
    %{path: netns()}
  end

  test "a stopped application says so, in both ways", %{path: path} do
    :ok = Application.stop(:nlns)
    assert Nlns.open_in_netns(path, 0) == @stopped
    %{ref: ref} = Nlns.open_in_netns_async(path, 0)
    assert_received {:nlns, ^ref, @stopped}
    assert path |> Nlns.open_in_netns_async(0) |> Nlns.await(0) == @stopped
    assert Nlns.info() == nil
    assert Nlns.release(path) == :ok
  end

  test "its threads are gone when the stop returns, wherever they were", %{path: path} do
    paths = [path | for(_ <- 1..3, do: netns())]
    Enum.each(paths, &cookie_at/1)
    :ok = Application.stop(:nlns)
    assert Proc.pool_threads() == []
    assert Proc.threads_outside() == []
  end

  test "waiting requests are answered", %{path: path} do
    requests = for _ <- 1..500, do: Nlns.open_in_netns_async(path, 0)
    :ok = Application.stop(:nlns)

    for request <- requests do
      case Nlns.await(request, 0) do
        {:ok, handle} -> Handle.close(handle)
        error -> assert error == @stopped
      end
    end
  end

  test "descriptors, handles and requests from before are as good as before", %{path: path} do
    inside = Netns.add_link(path)
    {:ok, fd} = Nlns.open_in_netns(path, 0)
    request = Nlns.open_in_netns_async(path, 0)
    [spent, taken, cancelled] = for _ <- 1..3, do: Nlns.open_in_netns_async(path, 0)
    [spent, taken] = Enum.map([spent, taken], &handle/1)
    before = Proc.sockets()
    :ok = Application.stop(:nlns)

    assert Nlns.bind_netlink(fd, 1) == :ok
    assert inside in Rtnetlink.links(fd)
    Nlns.close_fd(fd)
    assert Proc.descriptor(fd) == nil

    assert Handle.close(spent) == :ok
    assert {:ok, socket} = Handle.to_socket(taken)
    assert inside in Rtnetlink.links(socket)
    :socket.close(socket)

    close_if_open(Nlns.await(request, 0))
    assert Nlns.cancel(cancelled) == :ok
    assert Proc.sockets() <= before - 3
  end

  test "started again it serves again, with new counters", %{path: path} do
    cookie = cookie_at(path)

    for _ <- 1..10 do
      :ok = Application.stop(:nlns)
      :ok = Application.start(:nlns)
      assert cookie_at(path) == cookie
      assert %{opened: 1} = Nlns.info()
    end
  end

  test "callers in the midst of it get an answer each", %{path: path} do
    callers = for _ <- 1..50, do: Task.async(fn -> open_until_stopped(path) end)
    eventually(fn -> assert Nlns.info().opened > 100 end)
    :ok = Application.stop(:nlns)
    assert Enum.uniq(Task.await_many(callers, within())) == [@stopped]
  end

  defp open_until_stopped(path) do
    case Nlns.open_in_netns(path, 0) do
      {:ok, fd} -> Nlns.close_fd(fd) && open_until_stopped(path)
      error -> error
    end
  end

  defp close_if_open({:ok, handle}), do: Handle.close(handle)
  defp close_if_open(error), do: assert(error == @stopped)
end
