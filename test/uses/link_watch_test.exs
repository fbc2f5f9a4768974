defmodule Nlns.LinkWatchTest do
  # The GenServer of guides/genserver.md, as it stands there, and more events than its socket holds.
  use Nlns.NetnsCase

  alias Nlns.{Guide, Links}

  @page "guides/genserver.md"

  setup_all do
    on_exit(fn -> Guide.remove(@page) end)
    [watch] = Guide.compile(@page)
    %{watch: watch}
  end

  test "it knows the links of each namespace, and follows changes", %{watch: watch} do
    [one, other] = [netns(), netns()]
    first = Netns.add_link(one)
    server = start!(watch, [one, other, "/run/netns/nowhere"])
    knows(watch, server, one)
    knows(watch, server, other)
    assert first in watch.links(server, one)

    added = Netns.add_link(one)
    knows(watch, server, one)
    assert added in watch.links(server, one)
    refute added in watch.links(server, other)

    Netns.ip!(["-n", Path.basename(one), "link", "del", first])
    knows(watch, server, one)
    refute first in watch.links(server, one)

    assert watch.links(server, "/run/netns/nowhere") == nil
    assert watch.lost(server) == 0
    stop!(server)
  end

  test "after events that its socket had no room for it hears, and knows what they told",
       %{watch: watch} do
    path = netns()
    link = Netns.add_link(path)
    server = start!(watch, [path])
    knows(watch, server, path)

    # It is busy for a while, and links come and go.
    :sys.suspend(server)
    flap(path, link, 600)
    during = Netns.add_link(path)
    :sys.resume(server)

    knows(watch, server, path)
    assert during in watch.links(server, path)
    assert watch.lost(server) >= 1

    # It is not deaf.
    added = Netns.add_link(path)
    knows(watch, server, path)
    assert added in watch.links(server, path)
    stop!(server)
  end

  test "what changes while a dump is under way is known after it", %{watch: watch} do
    path = netns()
    {:ok, socket} = Nlns.open_socket(path, :netlink, :raw, 0)
    # RTMGRP_LINK
    :ok = Nlns.bind_netlink(socket, 1)
    {:ok, dump} = Nlns.Netlink.execute(path, :route, Links.dump())
    added = Netns.add_link(path)

    # The event is read before the dump's answer, which is older.
    ref = make_ref()
    state = %{requests: %{ref => {:dump, path}}, paths: %{socket => path}, links: %{}, lost: 0}
    state = Map.put(state, :events, %{path => []})
    {:noreply, state} = watch.handle_info({:"$socket", socket, :select, nil}, state)
    {:noreply, state} = watch.handle_info({:nlns, ref, {:ok, dump}}, state)
    assert added in Map.values(state.links[path])
    assert state.events == %{}
    :socket.close(socket)
    assert_receive {:"$socket", ^socket, :abort, _info}
  end

  test "it lets go of a namespace that was deleted", %{watch: watch} do
    [gone, other] = [netns(), netns()]
    peer = Netns.add_veth_to_host(gone)
    server = start!(watch, [gone, other], 20)
    knows(watch, server, gone)
    assert Netns.gone_after_delete?(gone, peer)
    eventually(fn -> assert watch.links(server, gone) == nil end)
    knows(watch, server, other)
    stop!(server)
  end

  defp start!(watch, paths, look_every \\ 10_000) do
    {:ok, server} = watch.start_link(paths, look_every)
    server
  end

  defp stop!(server), do: GenServer.stop(server)

  defp knows(watch, server, path) do
    eventually(fn ->
      assert Enum.sort(watch.links(server, path) || []) == Enum.sort(links_at(path))
    end)
  end

  defp flap(path, link, times) do
    file = Path.join(tmp_dir(), "batch")
    File.write!(file, String.duplicate("link set #{link} up\nlink set #{link} down\n", times))
    Netns.ip!(["-n", Path.basename(path), "-batch", file])
  end
end
