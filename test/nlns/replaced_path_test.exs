defmodule Nlns.ReplacedPathTest do
  # A helper that never leaves by itself, so that every test finds it pinned in the old namespace.
  use Nlns.NetnsCase

  setup do
    restart(idle_timeout: :infinity)
    path = netns()
    inside = Netns.add_link(path)
    assert inside in links_at(path)
    on_exit(fn -> Nlns.release(path) end)
    %{path: path, inside: inside}
  end

  test "a name that was deleted and made again is served from the new namespace, every time",
       %{path: path} do
    cookies =
      for _ <- 1..30 do
        Netns.del(path)
        Netns.add(Path.basename(path))
        # The first after the change, then the next.
        cookie = cookie_at(path)
        inside = Netns.add_link(path)
        assert inside in links_at(path)
        cookie
      end

    assert cookies == Enum.uniq(cookies)
  end

  test "a deleted name is a failed open, and only that", %{path: path} do
    other = netns()
    on_exit(fn -> Nlns.release(other) end)
    Netns.del(path)
    assert Nlns.open_in_netns(path, 0) == {:error, {:open, 2}}
    assert "lo" in links_at(other)
    assert Nlns.open_in_netns(path, 0) == {:error, {:open, 2}}
  end

  test "a namespace mounted over another hides it, until it is unmounted",
       %{path: path, inside: inside} do
    other = netns()
    over = Netns.add_link(other)
    Netns.run!("mount", ["--bind", other, path])
    links = links_at(path)
    Netns.run!("umount", ["-l", path])

    assert over in links
    refute inside in links
    assert inside in links_at(path)
    refute over in links_at(path)
  end

  test "a file where the namespace was mounted is no namespace", %{path: path, inside: inside} do
    file = Path.join(tmp_dir(), "file")
    File.touch!(file)
    Netns.run!("mount", ["--bind", file, path])
    answer = Nlns.open_in_netns(path, 0)
    Netns.run!("umount", ["-l", path])

    assert answer == {:error, {:setns, 22}}
    assert inside in links_at(path)
  end

  test "a name that is unmounted but not yet removed is a plain file", %{path: path} do
    Netns.run!("umount", ["-l", path])
    assert Nlns.open_in_netns(path, 0) == {:error, {:setns, 22}}
  end

  test "a link that is turned leads to where it leads now", %{path: path, inside: inside} do
    other = netns()
    over = Netns.add_link(other)
    link = Path.join(tmp_dir(), "link")
    on_exit(fn -> Nlns.release(link) end)

    for {target, seen, unseen} <- [
          {path, inside, over},
          {other, over, inside},
          {path, inside, over}
        ] do
      File.rm(link)
      File.ln_s!(target, link)
      links = links_at(link)
      assert seen in links
      refute unseen in links
    end

    File.rm!(link)
    assert Nlns.open_in_netns(link, 0) == {:error, {:open, 2}}
  end

  test "a directory on the way that is renamed takes the path with it", %{path: path} do
    dir = tmp_dir()
    [old, new] = [Path.join(dir, "old"), Path.join(dir, "new")]
    File.mkdir!(old)
    File.ln_s!(path, Path.join(old, "x"))
    cookie = cookie_at(Path.join(old, "x"))
    File.rename!(old, new)
    assert Nlns.open_in_netns(Path.join(old, "x"), 0) == {:error, {:open, 2}}
    assert cookie_at(Path.join(new, "x")) == cookie
    Nlns.release(Path.join(new, "x"))
  end

  test "a socket that is open stays in the namespace that its path has left",
       %{path: path, inside: inside} do
    {:ok, fd} = Nlns.open_in_netns(path, 0)
    Netns.del(path)
    Netns.add(Path.basename(path))
    assert inside in Rtnetlink.links(fd)
    refute inside in links_at(path)
    Nlns.close_fd(fd)
  end
end
