defmodule Nlns.Uses.LinkEventsTest do
  # One process that follows the interfaces of several containers as they come and go.
  use Nlns.NetnsCase

  # RTMGRP_LINK, rtnetlink(7)
  @links 1

  test "one process receives the link events of three namespaces, each by the right socket" do
    paths = for _ <- 1..3, do: netns()
    subscribed = for path <- paths, do: {path, subscribe(path)}

    links =
      for {path, {socket, handle}} <- subscribed, into: %{} do
        link = Netns.add_link(path)
        Netns.up(path, link)
        assert_receive {:"$socket", ^socket, :select, ^handle}
        {socket, link}
      end

    # The kernel puts an event into every socket that it concerns before `ip` ends, so these are all.
    heard = for {_, {socket, _}} <- subscribed, into: %{}, do: {socket, heard(socket, [])}

    for {socket, link} <- links, {other, names} <- heard do
      assert link in names == (socket == other)
    end

    for {_, {socket, _}} <- subscribed, do: :ok = :socket.close(socket)
  end

  # A socket that tells by message when there is something to receive.
  defp subscribe(path) do
    {:ok, socket} = Nlns.open_socket(path, :netlink, :raw, 0)
    :ok = Nlns.bind_netlink(socket, @links)
    {:select, {:select_info, _, handle}} = :socket.recv(socket, 0, [], :nowait)
    {socket, handle}
  end

  defp heard(socket, names) do
    case :socket.recv(socket, 0, [], :nowait) do
      {:ok, data} -> heard(socket, Rtnetlink.names(data) ++ names)
      {:select, info} -> with :ok <- :socket.cancel(socket, info), do: names
    end
  end
end
