defmodule Nlns.Netlink.SocketsTest do
  # The sockets of a namespace through nlns are those of `ss`: sock_diag(7), linux/inet_diag.h.
  use Nlns.NetnsCase

  import Nlns.Compare

  @sock_diag_by_family 20
  @af_inet 2
  @af_inet6 10
  @tcp 6
  @udp 17
  # Every state, of which each has a bit.
  @all 0xFFFFFFFF
  # linux/tcp_states.h
  @states %{1 => "ESTAB", 7 => "UNCONN", 10 => "LISTEN"}
  # IPPROTO_IPV6, IPV6_V6ONLY
  @v6only {41, 26}
  @loopback [inet: {127, 0, 0, 1}, inet6: {0, 0, 0, 0, 0, 0, 0, 1}]

  setup do
    path = netns()
    run_all!(path, "ip link set lo up")
    {:ok, path: path}
  end

  test "tcp_sockets_are_those_of_ss", %{path: path} do
    # Kept, because a socket that nobody refers to is closed.
    sockets =
      for {domain, address} <- @loopback do
        listener = bound(path, domain, :stream, address)
        :ok = :socket.listen(listener, 7)
        {:ok, name} = :socket.sockname(listener)
        {:ok, client} = Nlns.open_socket(path, domain, :stream, :tcp)
        :ok = :socket.connect(client, name)
        {:ok, accepted} = :socket.accept(listener)
        :ok = :socket.send(client, "unread")
        [listener, client, accepted]
      end

    eventually(fn ->
      theirs = ss(path, "-t")
      assert Enum.frequencies_by(theirs, & &1["state"]) == %{"ESTAB" => 4, "LISTEN" => 2}
      assert Enum.sort(for row <- theirs, do: row["receive"]) == [0, 0, 0, 0, 6, 6]
      assert rows(sockets(path, @tcp)) == rows(theirs)
    end)

    sockets |> List.flatten() |> Enum.each(&:socket.close/1)
  end

  test "udp_sockets_are_those_of_ss", %{path: path} do
    sockets = for {domain, address} <- @loopback, do: bound(path, domain, :dgram, address)
    theirs = ss(path, "-u")
    assert length(theirs) == 2
    assert rows(sockets(path, @udp)) == rows(theirs)
    Enum.each(sockets, &:socket.close/1)
  end

  defp bound(path, domain, type, address) do
    {:ok, socket} = Nlns.open_socket(path, domain, type, 0)
    if domain == :inet6, do: :ok = :socket.setopt_native(socket, @v6only, true)
    :ok = :socket.bind(socket, %{family: domain, addr: address, port: 0})
    socket
  end

  # struct inet_diag_req_v2 with a struct inet_diag_sockid; struct inet_diag_msg
  defp sockets(path, protocol) do
    for family <- [@af_inet, @af_inet6],
        <<_family, state, _::16, local_port::16, peer_port::16, local::binary-16, peer::binary-16,
          _interface::32, _cookie::64, _expires::32, receive::native-32, send::native-32,
          _uid::32, inode::native-32,
          _attributes::binary>> <-
          dump(
            path,
            :sock_diag,
            @sock_diag_by_family,
            <<family, protocol, 0::16, @all::native-32, 0::48-unit(8)>>
          ) do
      %{
        "state" => @states[state],
        "receive" => receive,
        "send" => send,
        "local" => endpoint(family, local, local_port),
        "peer" => endpoint(family, peer, peer_port),
        "inode" => inode
      }
    end
  end

  defp endpoint(@af_inet, <<address::binary-4, _::binary>>, port),
    do: "#{ip(address)}:#{port(port)}"

  defp endpoint(@af_inet6, address, port), do: "[#{ip(address)}]:#{port(port)}"

  defp port(0), do: "*"
  defp port(port), do: port

  # -H: no head; -a: all; -n: numbers; -e: inodes; -O: a socket a line. (It complains where no cgroup2 is mounted.)
  defp ss(path, protocol) do
    shown = run!(path, "sh", ["-c", "ss -HaneO #{protocol} 2> /dev/null"])

    for line <- String.split(shown, "\n", trim: true) do
      [state, receive, send, local, peer | more] = String.split(line)
      "ino:" <> inode = Enum.find(more, &String.starts_with?(&1, "ino:"))

      %{
        "state" => state,
        "receive" => String.to_integer(receive),
        "send" => String.to_integer(send),
        "local" => local,
        "peer" => peer,
        "inode" => String.to_integer(inode)
      }
    end
  end
end
