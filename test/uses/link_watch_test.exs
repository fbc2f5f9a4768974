defmodule Nlns.LinkWatchTest do
  # The GenServer of guides/genserver.md, as it stands there, and more events than its socket holds.
  use Nlns.NetnsCase

  alias Nlns.Guide

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

  defp start!(watch, paths) do
    {:ok, server} = watch.start_link(paths)
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
