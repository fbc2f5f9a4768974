defmodule Nlns.ErrorsTest do
  use Nlns.NetnsCase

  @enxio 6
  @enotdir 20
  @einval 22
  @enametoolong 36
  @eloop 40
  @eprotonosupport 93

  setup do
    %{path: netns(), dir: tmp_dir()}
  end

  test "a missing file is a failed open", %{path: path} do
    refused(path <> "-not", {:open, 2})
    refused("", {:open, 2})
    refused("/proc/4194305/ns/net", {:open, 2})
  end

  test "a regular file is no namespace", %{dir: dir} do
    file = Path.join(dir, "file")
    File.write!(file, "")
    refused(file, {:setns, @einval})
  end

  test "another kind of namespace is none to enter" do
    for kind <- ~w(mnt uts ipc pid user cgroup) do
      refused("/proc/self/ns/#{kind}", {:setns, @einval})
    end
  end

  test "neither is a directory, nor a device", %{dir: dir} do
    refused(dir, {:setns, @einval})
    refused("/", {:setns, @einval})
    refused("/dev/null", {:setns, @einval})
  end

  test "a Unix socket cannot be opened", %{dir: dir} do
    file = Path.join(dir, "socket")
    {:ok, socket} = :gen_tcp.listen(0, ip: {:local, file})
    refused(file, {:open, @enxio})
    :gen_tcp.close(socket)
  end

  test "a path through a file or a circle of links fails",
       %{path: path, dir: dir} do
    refused(path <> "/net", {:open, @enotdir})
    File.ln_s!("circle", Path.join(dir, "circle"))
    refused(Path.join(dir, "circle"), {:open, @eloop})
  end

  test "a FIFO in the path's place answers promptly, and others are served meanwhile",
       %{path: path, dir: dir} do
    fifo = Path.join(dir, "fifo")
    Netns.run!("mkfifo", [fifo])
    requests = for _ <- 1..100, do: Nlns.open_in_netns_async(fifo, 0)
    assert {:ok, fd} = Nlns.open_in_netns(path, 0, within())
    Nlns.close_fd(fd)

    for request <- requests,
        do: assert(Nlns.await(request, within()) == {:error, {:setns, @einval}})
  end

  test "an unknown protocol is a failed socket, and the next is served", %{path: path} do
    for protocol <- [32, 999, 2_147_483_647] do
      refused(path, protocol, {:socket, @eprotonosupport})
      assert {:ok, fd} = Nlns.open_in_netns(path, 0)
      Nlns.close_fd(fd)
    end
  end

  test "of a bad path and a bad protocol the path is what fails", %{path: path} do
    refused(path <> "-not", 999, {:open, 2})
  end

  test "a NUL byte is in no path", %{path: path} do
    for path <- [<<0>>, path <> <<0>>, path <> "\0more", "\0" <> path] do
      refused(path, {:open, @einval})
    end
  end

  test "4,095 bytes are a path, 4,096 are too many", %{path: path} do
    longest = String.duplicate("/", 4_095 - byte_size(path)) <> path
    assert byte_size(longest) == 4_095
    assert cookie_at(longest) == cookie_at(path)

    refused("/" <> longest, {:open, @enametoolong})
    refused(String.duplicate("x", 100_000), {:open, @enametoolong})
    # The whole fits, a part of it does not.
    refused("/" <> String.duplicate("x", 256), {:open, @enametoolong})
  end

  test "after all these errors the good path is served, and info/0 has counted", %{path: path} do
    %{failed: failed} = Nlns.info()
    refused(path <> "-not", {:open, 2})
    refused(path, 999, {:socket, @eprotonosupport})
    assert "lo" in links_at(path)
    assert Nlns.info().failed == failed + 4
  end

  # The same, asked in both ways.
  defp refused(path, protocol \\ 0, reason) do
    assert Nlns.open_in_netns(path, protocol) == {:error, reason}
    assert %Nlns.Request{ref: ref} = Nlns.open_in_netns_async(path, protocol)
    assert_receive {:nlns, ^ref, {:error, ^reason}}
  end
end
