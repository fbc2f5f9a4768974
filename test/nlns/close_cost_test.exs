defmodule Nlns.CloseCostTest do
  # Whatever a close costs, no scheduler pays for it. See `native/nlns_core/src/socket.rs` for the costs.
  use Nlns.NetnsCase
  alias Nlns.{LeftOut, LongSchedule}

  @af_netlink 16
  @af_packet 17
  @sol_socket 1
  @so_rcvbufforce 33
  @mptcp 262

  # SOCK_STREAM to SOCK_SEQPACKET, SOCK_PACKET
  @types [1, 2, 3, 4, 5, 10]
  # Of inet and netlink; ICMPv6, SCTP, UDP-Lite, MPTCP, ETH_P_ALL.
  @protocols Enum.to_list(0..23) ++ [58, 132, 136, 255, 262, 0x0300]
  @families 1..46

  setup do
    path = netns()
    Netns.up(path, "lo")
    %{path: path}
  end

  test "the measure sees a scheduler that closes a packet socket", %{path: path} do
    # When the process ends `:socket` has the last close: nlns has none left. The VM does not tell of each,
    # because it leaves some to work that is no process's.
    owned = fn ->
      {:ok, fd} = Nlns.open_fd(path, :packet, :raw, 0x0300)
      {:ok, _} = :socket.open(fd)
      Nlns.close_fd(fd)
    end

    assert Enum.count(1..20, fn _ -> LongSchedule.times(owned) != [] end) > 10
  end

  test "no kind of socket keeps a scheduler busy when it is closed, by any way out", %{path: path} do
    kinds = kinds(path)
    # Some that every kernel has.
    for kind <- [{1, 1, 0}, {2, 1, 6}, {2, 2, 17}, {16, 3, 0}, {17, 3, 0}, {2, 10, 0x0300}],
        do: assert(kind in kinds)

    slow =
      for kind <- kinds,
          {way, close} <- ways(),
          not LongSchedule.none?(fn -> close.(path, kind) end) do
        {kind, way}
      end

    assert slow == []
  end

  test "a listener with unaccepted connections keeps no scheduler busy", %{path: path} do
    somaxconn(path, 4_096)

    for protocol <- [:tcp, @mptcp], there?(path, protocol) do
      none? =
        Enum.any?(1..10, fn _ ->
          {:ok, fd} = Nlns.open_fd(path, :inet, :stream, protocol)
          {:ok, socket} = :socket.open(fd)
          wait_for(socket, path)
          :ok = :socket.close(socket)
          LongSchedule.times(fn -> Nlns.close_fd(fd) end) == []
        end)

      assert none?
    end
  end

  test "the killed owner of a listener with unaccepted connections keeps no scheduler busy",
       %{path: path} do
    somaxconn(path, 4_096)

    for protocol <- [:tcp, @mptcp], there?(path, protocol) do
      test = self()

      none? =
        Enum.any?(1..10, fn _ ->
          owner =
            spawn(fn ->
              {:ok, socket} = Nlns.open_socket(path, :inet, :stream, protocol)
              # A socket that no term refers to is closed by the next garbage collection.
              Process.put(:kept, socket)
              wait_for(socket, path)
              send(test, :waiting)
              Process.sleep(:infinity)
            end)

          assert_receive :waiting

          # Its 2,000 connections took schedulers long enough.
          times =
            LongSchedule.times(fn ->
              monitor = Process.monitor(owner)
              Process.exit(owner, :kill)
              assert_receive {:DOWN, ^monitor, _, _, :killed}
            end)

          times == []
        end)

      assert none?
    end
  end

  test "unread messages of netlink keep no scheduler busy", %{path: path} do
    link = Netns.add_link(path)
    batch = Path.join(tmp_dir(), "batch")
    lines = for n <- 1..2_000, do: "link set #{link} mtu #{1_400 + rem(n, 2)}\n"
    File.write!(batch, lines)

    none? =
      Enum.any?(1..10, fn _ ->
        fd = listening(path)
        {_, 0} = System.cmd("ip", ["-n", Path.basename(path), "-batch", batch])
        LongSchedule.times(fn -> Nlns.close_fd(fd) end) == []
      end)

    assert none?
  end

  # A socket that hears of every link, with room for all of it.
  defp listening(path) do
    {:ok, fd} = Nlns.open_in_netns(path, 0)
    :ok = Nlns.bind_netlink(fd, 1)
    {:ok, socket} = :socket.open(fd)
    room = <<1_000_000_000::native-32>>
    :ok = :socket.setopt_native(socket, {@sol_socket, @so_rcvbufforce}, room)
    :ok = :socket.close(socket)
    fd
  end

  defp there?(path, protocol) do
    case Nlns.open_fd(path, :inet, :stream, protocol) do
      {:ok, fd} ->
        Nlns.close_fd(fd)
        true

      {:error, {:socket, 93}} when protocol == @mptcp ->
        LeftOut.part("listeners of MPTCP, which this kernel has not (CONFIG_MPTCP)")
        false
    end
  end

  defp somaxconn(path, count) do
    sysctl = ["sysctl", "-qw", "net.core.somaxconn=#{count}"]
    {_, 0} = System.cmd("ip", ["netns", "exec", Path.basename(path) | sysctl])
  end

  # Makes a listener of a socket, with 2,000 connections in its queue, whose other ends are closed.
  defp wait_for(socket, path) do
    :ok = :socket.bind(socket, %{family: :inet, addr: {127, 0, 0, 1}, port: 0})
    :ok = :socket.listen(socket, 4_096)
    {:ok, address} = :socket.sockname(socket)

    for _ <- 1..2_000 do
      {:ok, client} = Nlns.open_socket(path, :inet, :stream, :tcp)
      :ok = :socket.connect(client, address)
      :ok = :socket.close(client)
    end
  end

  # What this kernel has.
  defp kinds(path) do
    for family <- @families,
        type <- @types,
        protocol <- protocols(path, family, type),
        {:ok, fd} <- [Nlns.open_fd(path, family, type, protocol)] do
      Nlns.close_fd(fd)
      {family, type, protocol}
    end
  end

  # A family that does not exist has no protocols to be tried.
  defp protocols(path, family, type) do
    case Nlns.open_fd(path, family, type, 0) do
      {:error, {:socket, 97}} -> []
      {:error, _} -> @protocols
      {:ok, fd} -> Nlns.close_fd(fd) && @protocols
    end
    |> Enum.filter(&(family not in [@af_packet] or &1 in [0, 3, 0x0300]))
    |> Enum.reject(&(family == @af_netlink and &1 > 23))
  end

  defp ways do
    [
      close_fd: fn path, {family, type, protocol} ->
        {:ok, fd} = Nlns.open_fd(path, family, type, protocol)
        Nlns.close_fd(fd)
      end,
      cancel: fn path, {family, type, protocol} ->
        request = Nlns.open_async(path, family, type, protocol)
        %{ref: ref} = request
        assert_receive {:nlns, ^ref, {:ok, _}}
        Nlns.cancel(request)
      end,
      timeout: fn path, {family, type, protocol} ->
        case path |> Nlns.open_async(family, type, protocol) |> Nlns.await(0) do
          {:ok, handle} -> Handle.close(handle)
          {:error, reason} -> assert reason == {:thread, 110}
        end
      end,
      handle: fn path, {family, type, protocol} ->
        path |> Nlns.open_async(family, type, protocol) |> handle() |> Handle.close()
      end,
      killed: fn path, {family, type, protocol} ->
        path |> Nlns.open_async(family, type, protocol) |> handle()
        Process.exit(self(), :kill)
      end,
      socket: fn path, {family, type, protocol} ->
        {:ok, _} = Nlns.open_socket(path, family, type, protocol)
        Process.exit(self(), :kill)
      end
    ]
  end
end
