defmodule Nlns.OpenSocketTest do
  use Nlns.NetnsCase

  # SOL_SOCKET, SO_DOMAIN, SO_TYPE, SO_PROTOCOL
  @sol_socket 1
  @so_domain 39
  @so_type 3
  @so_protocol 38

  # What is asked for, and the numbers of it that the kernel knows.
  @families [
    {{:inet, :stream, :tcp}, {2, 1, 6}},
    {{:inet, :dgram, :udp}, {2, 2, 17}},
    {{:inet, :raw, :icmp}, {2, 3, 1}},
    {{:inet6, :stream, :default}, {10, 1, 6}},
    {{:inet6, :dgram, 17}, {10, 2, 17}},
    {{:local, :seqpacket, :default}, {1, 5, 0}},
    {{:netlink, :raw, 16}, {16, 3, 16}},
    # It tells this one's by other means.
    {{:packet, :dgram, 0x0300}, {17, 2, 0}}
  ]

  setup do
    path = netns()
    %{path: path, cookie: cookie_at(path), sockets: Proc.sockets()}
  end

  test "each family is the one asked for, inside, close-on-exec and one descriptor", context do
    %{path: path, cookie: cookie, sockets: sockets} = context

    for {{domain, type, protocol}, numbers} <- @families do
      assert {:ok, socket} = Nlns.open_socket(path, domain, type, protocol)

      assert {option(socket, @so_domain), option(socket, @so_type), option(socket, @so_protocol)} ==
               numbers

      assert Rtnetlink.cookie(socket) == cookie
      {:ok, fd} = :socket.getopt(socket, :otp, :fd)
      assert Proc.cloexec?(fd)
      # For `:packet` ours is kept, so that it is not OTP that has the last close.
      expected = if domain == :packet, do: 2, else: 1
      eventually(fn -> assert Proc.sockets() == sockets + expected end)
      assert :socket.close(socket) == :ok
      eventually(fn -> assert Proc.sockets() == sockets end)
    end
  end

  test "a socket is closed with its owner, whatever its family", context do
    %{path: path, sockets: sockets} = context
    test = self()

    {owner, monitor} =
      spawn_monitor(fn ->
        opened =
          for {{domain, type, protocol}, _} <- @families,
              do: Nlns.open_socket(path, domain, type, protocol)

        send(test, {:opened, opened})
        receive(do: (:never -> :ok))
      end)

    assert_receive {:opened, opened}
    assert Enum.all?(opened, &match?({:ok, _}, &1))
    Process.exit(owner, :kill)
    assert_receive {:DOWN, ^monitor, _, _, :killed}
    eventually(fn -> assert Proc.sockets() == sockets end)
  end

  test "owners killed at any moment leave no descriptor", %{path: path, sockets: sockets} do
    for n <- 1..300 do
      {owner, monitor} =
        spawn_monitor(fn ->
          for {{domain, type, protocol}, _} <- Stream.cycle(@families),
              do: Nlns.open_socket(path, domain, type, protocol)
        end)

      for _ <- 1..(1 + rem(n, 50) * 100), do: :ok
      Process.exit(owner, :kill)
      assert_receive {:DOWN, ^monitor, _, _, :killed}
    end

    eventually(fn -> assert Proc.sockets() == sockets end)
  end

  # `:socket` does not report each of these ends.
  test "owners killed while they close leave no descriptor", %{path: path, sockets: sockets} do
    processes = length(Process.list())

    kill = fn ->
      killer = self()

      {owner, monitor} =
        spawn_monitor(fn ->
          {:ok, socket} = Nlns.open_socket(path, :packet, :raw, 0)
          # One that has just run is mostly killed before it begins to close.
          Process.sleep(1)
          send(killer, {:closes, self()})
          :socket.close(socket)
        end)

      assert_receive {:closes, ^owner}
      Process.exit(owner, :kill)
      assert_receive {:DOWN, ^monitor, _, _, _}
    end

    1..4
    |> Enum.map(fn _ -> Task.async(fn -> for _ <- 1..300, do: kill.() end) end)
    |> Task.await_many(:infinity)

    eventually(fn ->
      assert Proc.sockets() == sockets
      # Fewer, where another has ended meanwhile.
      assert length(Process.list()) <= processes
    end)
  end

  test "the last close of a packet socket, which takes milliseconds, is a closer's, however it ends",
       %{path: path, sockets: sockets} do
    test = self()
    there = for %{name: "nlns-closer", tid: tid} <- Proc.threads(), do: tid
    # -y: what each descriptor leads to. prctl: the name that a thread gives itself.
    said =
      Nlns.Strace.of(["-y", "-e", "trace=close,prctl"], Path.join(tmp_dir(), "closes"), fn ->
        for _ <- 1..10, do: spawn(fn -> send(test, {:name, name(open_packet(path))}) end)

        for _ <- 1..10 do
          socket = open_packet(path)
          send(test, {:name, name(socket)})
          :ok = :socket.close(socket)
        end

        eventually(fn -> assert Proc.sockets() == sockets and Nlns.info().closing == 0 end)
      end)

    # Each close in its order; of each socket the last is what counts.
    closes = Regex.scan(~r/^(\d+) +close\(\d+<(socket:\[\d+\])>/m, said)
    last = for [_, tid, name] <- closes, into: %{}, do: {name, tid}
    # Those who have ended meanwhile are among them.
    started = Regex.scan(~r/^(\d+) +prctl\(PR_SET_NAME, "nlns-closer"/m, said)
    closers = there ++ for [_, tid] <- started, do: tid

    for _ <- 1..20 do
      assert_receive {:name, name}
      assert last[name] in closers
    end
  end

  test "a refusal of socket(2) has its errno", %{path: path} do
    assert Nlns.open_socket(path, :inet, :stream, :udp) == {:error, {:socket, 93}}
    assert Nlns.open_socket(path, 999, :stream, :default) == {:error, {:socket, 97}}
  end

  defp open_packet(path) do
    {:ok, socket} = Nlns.open_socket(path, :packet, :raw, 0x0300)
    socket
  end

  defp name(socket) do
    {:ok, fd} = :socket.getopt(socket, :otp, :fd)
    Proc.descriptor(fd)
  end

  defp option(socket, option) do
    {:ok, <<number::native-32>>} = :socket.getopt_native(socket, {@sol_socket, option}, 4)
    number
  end
end
