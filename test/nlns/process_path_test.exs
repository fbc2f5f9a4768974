defmodule Nlns.ProcessPathTest do
  use Nlns.NetnsCase

  test "/proc/PID/ns/net is the namespace of that process, until it ends" do
    process = Netns.process()
    cookie = cookie_at(process.path)
    assert cookie != Rtnetlink.home_cookie()
    assert "lo" in links_at(process.path)
    assert cookie_at(process.path) == cookie

    Netns.kill(process)
    assert Nlns.open_in_netns(process.path, 0) == {:error, {:open, 2}}
  end

  test "it ends also while a helper would stay there for ever" do
    restart(idle_timeout: :infinity)
    process = Netns.process()
    cookie_at(process.path)
    assert [_] = Proc.threads_outside()
    Netns.kill(process)
    assert Nlns.open_in_netns(process.path, 0) == {:error, {:open, 2}}
    eventually(fn -> assert Proc.threads_outside() == [] end)
  end

  test "one process after the other is served from its own namespace" do
    cookies =
      for _ <- 1..10 do
        process = Netns.process()
        cookie = cookie_at(process.path)
        Netns.kill(process)
        cookie
      end

    assert cookies == Enum.uniq(cookies)
  end

  test "the paths that mean 'here' mean the VM, whatever the helpers are doing" do
    restart(idle_timeout: :infinity)
    paths = for _ <- 1..3, do: netns()
    on_exit(fn -> Enum.each(paths, &Nlns.release/1) end)
    cookies = Enum.map(paths, &cookie_at/1)
    home = Rtnetlink.home_cookie()

    # Helpers are pinned elsewhere, and go from one place to the other all the time.
    busy =
      for path <- paths do
        Task.async(fn -> for _ <- 1..300, do: cookie_at(path) end)
      end

    here = ["/proc/thread-self/ns/net", "/proc/self/ns/net", "/proc/#{System.pid()}/ns/net"]
    for _ <- 1..100, path <- here, do: assert({path, cookie_at(path)} == {path, home})

    for {task, cookie} <- Enum.zip(busy, cookies) do
      assert Enum.uniq(Task.await(task, :infinity)) == [cookie]
    end

    Enum.each(here, &Nlns.release/1)
  end

  test "the path of a thread means that thread" do
    [main, pool] = for name <- [System.pid(), hd(Proc.pool_threads()).tid], do: task(name)
    assert cookie_at(main) == Rtnetlink.home_cookie()
    assert cookie_at(pool) == Rtnetlink.home_cookie()
  end

  defp task(tid), do: "/proc/self/task/#{tid}/ns/net"
end
