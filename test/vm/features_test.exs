defmodule Nlns.VM.FeaturesTest do
  # A whole VM under a filter that answers for every optional feature of the kernel, as an emulator or an
  # older kernel does. Each feature alone: native/nlns_core/tests/features.rs.
  use Nlns.VM

  @source Path.join(__DIR__, "../support/vm/filter.c")

  # Of `uname -m`: getsockopt, ioctl, fsopen, pidfd_open, openat2, sched_getattr.
  @calls %{"x86_64" => {55, 16, 430, 434, 437, 315}, "aarch64" => {209, 29, 430, 434, 437, 275}}

  setup_all do
    dir = Path.join(System.tmp_dir!(), "nlns-filter-#{System.pid()}")
    File.mkdir_p!(dir)
    on_exit(fn -> File.rm_rf!(dir) end)
    program = Path.join(dir, "filter")
    {_, 0} = System.cmd("cc", ["-o", program, @source], stderr_to_stdout: true)
    %{program: program}
  end

  for {errno, name} <- [{1, "EPERM"}, {22, "EINVAL"}, {38, "ENOSYS"}, {95, "EOPNOTSUPP"}] do
    test "without any optional feature, by #{name}, all is as with them", %{program: program} do
      paths = for _ <- 1..2, do: netns()
      peer = Netns.add_veth_to_host(hd(paths), "inside")

      vm [paths: paths, peer: peer],
        config: [idle_timeout: :infinity],
        wrap: [program | without_features(unquote(errno))] ++ ["--"] do
        assert Enum.map(Nlns.Native.features(), & &1.is_there) |> Enum.uniq() == [false]
        [path, other] = paths

        for _ <- 1..20, path <- paths do
          {:ok, fd} = Nlns.open_in_netns(path, 0)
          :ok = Nlns.close_fd(fd)
        end

        assert sockets() == 0
        {:ok, socket} = Nlns.open_socket(path, :netlink, :raw, 0)
        :ok = :socket.close(socket)

        # RTM_GETLINK, and a struct ifinfomsg with nothing in it: every interface.
        request = %Nlns.Netlink.Message{type: 18, flags: [:request, :dump], payload: <<0::128>>}
        {:ok, links} = Nlns.Netlink.execute(path, :route, request)
        assert Enum.any?(links, &(:binary.match(&1.payload, "inside") != :nomatch))
        assert open(other) == :ok
        port = Port.open({:spawn, "unshare --net cat"}, [:binary])
        Port.command(port, "x")
        assert_receive {^port, {:data, "x"}}, within()
        {:os_pid, pid} = Port.info(port, :os_pid)
        {:ok, fd} = Nlns.open_fd({:pid, pid}, :inet, :dgram, :udp)
        :ok = Nlns.close_fd(fd)
        Port.close(port)
        assert Nlns.release(other) == :ok
        assert Netns.gone_after_delete?(path, peer)
        assert poll(fn -> Nlns.info().helpers |> Enum.all?(&(&1.path == nil)) end)
        assert_all_in_order()
      end
    end
  end

  defp without_features(errno) do
    {machine, 0} = System.cmd("uname", ["-m"])
    {getsockopt, ioctl, fsopen, pidfd_open, openat2, sched_getattr} = @calls[String.trim(machine)]

    for {call, argument, value} <- [
          # SIOCGSKNS, PIDFD_GET_NET_NAMESPACE, NS_GET_ID
          {ioctl, 1, 0x894C},
          {ioctl, 1, 0xFF04},
          {ioctl, 1, 0x8008B70D},
          # SO_COOKIE, SO_NETNS_COOKIE
          {getsockopt, 2, 57},
          {getsockopt, 2, 71},
          {fsopen, -1, 0},
          {pidfd_open, -1, 0},
          {openat2, -1, 0},
          {sched_getattr, -1, 0}
        ],
        do: "#{call}:#{argument}:#{value}:#{errno}"
  end
end
