defmodule Nlns.VM.PidnsTest do
  # A VM in a pid namespace of its own, with the procfs of the one outside, whose numbers mean others. What
  # the core does there, and without any procfs: native/nlns_core/tests/pidns.rs.
  use Nlns.VM

  test "a number means the VM's own process where /proc is that of the namespace outside" do
    vm [], wrap: ~w(unshare --pid --fork --kill-child), config: [idle_timeout: :infinity] do
      assert File.read_link!("/proc/self") != System.pid()

      port =
        Port.open({:spawn, "unshare --net sh -c 'readlink /proc/self/ns/net; cat'"}, [:binary])

      assert_receive {^port, {:data, there}}, within()
      {:os_pid, pid} = Port.info(port, :os_pid)

      # By its interfaces: only lo, and that is down.
      {:ok, fd} = Nlns.open_fd({:pid, pid}, :inet, :dgram, :udp)
      assert File.read_link("/proc/#{pid}/ns/net") != {:ok, String.trim(there)}
      {:ok, socket} = :socket.open(fd)
      {:ok, flags} = :socket.ioctl(socket, :gifflags, ~c"lo")
      refute :up in flags
      :ok = :socket.close(socket)
      :ok = Nlns.close_fd(fd)

      assert poll(fn -> Enum.any?(Nlns.info().helpers, &(&1.path == {:pid, pid})) end)
      Port.close(port)
      assert poll(fn -> Enum.all?(Nlns.info().helpers, &(&1.path == nil)) end)
      assert {:error, {:open, 2}} = Nlns.open_fd({:pid, pid}, :inet, :dgram, :udp)
      assert_all_in_order()
      :ok = Application.stop(:nlns)
      assert pool_threads() == []
    end
  end
end
