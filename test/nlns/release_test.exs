defmodule Nlns.ReleaseTest do
  # A helper that never leaves by itself: one that leaves was told to.
  use Nlns.NetnsCase

  setup do
    restart(idle_timeout: :infinity)
    path = netns()
    on_exit(fn -> Nlns.release(path) end)
    %{path: path}
  end

  test "after release no helper is in the namespace, and none before it was left", %{path: path} do
    cookie_at(path)
    assert Proc.threads_in(path) == 1
    assert Nlns.release(path) == :ok
    assert Proc.threads_in(path) == 0
    assert Proc.threads_outside() == []
    assert Enum.filter(Nlns.info().helpers, &(&1.path == path)) == []
  end

  test "it takes what an open takes: a name, and a process", %{path: path} do
    process = Netns.process()

    for netns <- [{:name, Path.basename(path)}, {:pid, process.pid}] do
      {:ok, fd} = Nlns.open_fd(netns, :netlink, :raw, 0)
      Nlns.close_fd(fd)
      assert [_] = Proc.threads_outside()
      assert Nlns.release(netns) == :ok
      assert Proc.threads_outside() == []
    end
  end

  test "a released namespace ends with its name: the host's end of its veth pair goes",
       %{path: path} do
    host = Netns.add_veth_to_host(path)
    cookie_at(path)
    assert Netns.host_link?(host)
    assert Nlns.release(path) == :ok
    Netns.del(path)
    eventually(fn -> refute Netns.host_link?(host) end)
  end

  test "waiting requests are answered before", %{path: path} do
    requests = for _ <- 1..500, do: Nlns.open_in_netns_async(path, 0)
    assert Nlns.release(path) == :ok
    assert {:message_queue_len, 500} = Process.info(self(), :message_queue_len)
    assert Proc.threads_in(path) == 0
    for request <- requests, do: request |> handle() |> Handle.close()
  end

  test "an unused path is released at once, and twice", %{path: path} do
    assert Nlns.release(path) == :ok
    assert Nlns.release("/not/there") == :ok
    assert Nlns.release("a\0b") == :ok
    assert Nlns.release(String.duplicate("x", 4_096)) == :ok
    cookie_at(path)
    for _ <- 1..3, do: assert(Nlns.release(path) == :ok)
    assert Nlns.release(path, :infinity) == :ok
    assert Nlns.release("/not/there", 0) == :ok
  end

  test "a released path is served as before", %{path: path} do
    cookie = cookie_at(path)

    for _ <- 1..50 do
      assert Nlns.release(path) == :ok
      assert cookie_at(path) == cookie
    end
  end

  test "other paths keep their helpers, also another name of the same namespace", %{path: path} do
    other = netns()
    link = Path.join(tmp_dir(), "link")
    File.ln_s!(path, link)
    on_exit(fn -> Enum.each([other, link], &Nlns.release/1) end)

    pin([path, link, other])
    assert Proc.threads_in_each([path, other]) == [2, 1]

    assert Nlns.release(path) == :ok
    assert Proc.threads_in_each([path, other]) == [1, 1]
    assert Nlns.release(link) == :ok
    assert Proc.threads_in_each([path, other]) == [0, 1]
  end

  test "a path whose name has gone meanwhile can be released", %{path: path} do
    cookie_at(path)
    Netns.del(path)
    assert Nlns.release(path) == :ok
    assert Proc.threads_outside() == []
  end

  test "many can release a path at once, while others use it", %{path: path} do
    users = for _ <- 1..10, do: Task.async(fn -> for _ <- 1..100, do: cookie_at(path) end)
    releasers = for _ <- 1..10, do: Task.async(fn -> for _ <- 1..50, do: Nlns.release(path) end)

    assert users |> Task.await_many(:infinity) |> List.flatten() |> Enum.uniq() |> length() ==
             1

    assert releasers |> Task.await_many(:infinity) |> List.flatten() |> Enum.uniq() == [:ok]
    assert Nlns.release(path) == :ok
    assert Proc.threads_in(path) == 0
  end

  test "a release that runs out of time says so, and sends nothing later", %{path: path} do
    answers =
      for _ <- 1..100 do
        requests = for _ <- 1..100, do: Nlns.open_in_netns_async(path, 999)
        answer = Nlns.release(path, 0)
        for request <- requests, do: Nlns.await(request)
        answer
      end

    assert {:error, {:thread, 110}} in answers
    assert Enum.uniq(answers) -- [:ok, {:error, {:thread, 110}}] == []
    assert Nlns.release(path) == :ok
  end
end
