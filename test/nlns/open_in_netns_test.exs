defmodule Nlns.OpenInNetnsTest do
  use Nlns.NetnsCase

  test "the socket sees the interfaces inside, and none of the host's" do
    path = netns()
    inside = Netns.add_link(path)
    outside = host_link()

    assert inside in links_at(path)
    refute outside in links_at(path)

    {:ok, socket} = :socket.open(16, :raw, 0)
    host = Rtnetlink.links(socket)
    :socket.close(socket)
    assert outside in host
    refute inside in host
  end

  test "the kernel's cookie of the socket is the namespace's, not the host's" do
    [a, b] = [netns(), netns()]
    cookies = [cookie_at(a), cookie_at(b), Rtnetlink.home_cookie()]
    assert cookies == Enum.uniq(cookies)
    assert cookie_at(a) == hd(cookies)
  end

  test "the socket is a raw netlink socket of the protocol" do
    path = netns()

    # NETLINK_ROUTE, NETLINK_KOBJECT_UEVENT, NETLINK_GENERIC
    for protocol <- [0, 15, 16] do
      assert {:ok, fd} = Nlns.open_in_netns(path, protocol)

      Rtnetlink.borrow(fd, fn socket ->
        # SO_TYPE, SO_PROTOCOL, SO_DOMAIN; SOCK_RAW, AF_NETLINK
        assert native_option(socket, 3) == 3
        assert native_option(socket, 38) == protocol
        assert native_option(socket, 39) == 16
      end)

      assert Nlns.close_fd(fd) == :ok
    end
  end

  test "the descriptor is the caller's to close, also after the process that opened it has ended" do
    path = netns()
    {:ok, fd} = Task.await(Task.async(fn -> Nlns.open_in_netns(path, 0) end))
    assert "socket:" <> _ = Proc.descriptor(fd)
    assert "lo" in Rtnetlink.links(fd)
    Nlns.close_fd(fd)
    assert Proc.descriptor(fd) == nil
  end

  test "a timeout may be long, or infinite" do
    path = netns()

    for timeout <- [60_000, 4_294_967_295, :infinity] do
      assert {:ok, fd} = Nlns.open_in_netns(path, 0, timeout)
      Nlns.close_fd(fd)
    end
  end

  test "any name of a namespace will do: a link, a relative path, a bind mount, a name in UTF-8" do
    path = netns()
    cookie = cookie_at(path)
    dir = tmp_dir()

    link = Path.join(dir, "link")
    File.ln_s!(path, link)
    assert cookie_at(link) == cookie

    assert cookie_at(relative(path)) == cookie

    mounted = Path.join(dir, "mounted ☃ \t name")
    File.touch!(mounted)
    Netns.run!("mount", ["--bind", path, mounted])
    on_exit(fn -> System.cmd("umount", [mounted]) end)
    assert cookie_at(mounted) == cookie
  end

  test "two names of one namespace are served in it alternately" do
    path = netns()
    link = Path.join(tmp_dir(), "link")
    File.ln_s!(path, link)
    cookie = cookie_at(path)
    for _ <- 1..20, name <- [path, link], do: assert(cookie_at(name) == cookie)
  end

  defp native_option(socket, option) do
    {:ok, <<value::native-32>>} = :socket.getopt_native(socket, {1, option}, 4)
    value
  end

  defp relative(path) do
    up = File.cwd!() |> Path.split() |> tl() |> Enum.map_join("/", fn _ -> ".." end)
    up <> path
  end
end
