defmodule Nlns.Netlink.LockTest do
  # The rtnl lock, which the kernel has once for all namespaces, held for real: by a process that makes and
  # removes a pair of links whose thousands of queues take the kernel a while (veth(4), ip-link(8)).
  use Nlns.NetnsCase

  alias Nlns.{Links, Netlink}

  @queues 4_096
  # SOCK_DIAG_BY_FAMILY, AF_UNIX: linux/unix_diag.h. It takes no lock of the network's.
  @unix_sockets %Netlink.Message{type: 20, flags: :dump, payload: <<1, 0::184>>}

  test "request_that_waits_for_the_lock_holds_up_its_own_path_only" do
    [waiting, opened, asked] = for _ <- 1..3, do: netns()
    holder = hold_lock(netns())

    eventually(fn ->
      # The VM has another thread read each file. So where all processors are busy, finding the helpers takes longer
      # than the lock is held.
      helpers = for %{tid: tid} <- Proc.helper_threads(), do: tid
      assert Enum.any?(1..20, fn _ -> overlaps?(waiting, opened, asked, helpers) end)
    end)

    Port.close(holder)
  end

  # Only a request that overlaps with the lock says something, and each proves it by itself: the helper sleeps in
  # the kernel before, and has not answered after.
  defp overlaps?(waiting, opened, asked, helpers) do
    dump = Netlink.execute_async(waiting, :route, Links.dump())
    is_waiting = waiting_in_kernel?(dump, helpers)

    assert {:ok, fd} = Nlns.open_in_netns(opened, 0)
    assert Nlns.close_fd(fd) == :ok
    assert {:ok, _} = Netlink.execute(asked, :sock_diag, @unix_sockets)

    is_still_waiting = not answered?(dump)
    assert {:ok, links} = Nlns.await(dump)
    assert Links.names(links) == ["lo"]
    is_waiting and is_still_waiting
  end

  # Whether a helper sleeps uninterruptibly before the answer comes.
  defp waiting_in_kernel?(dump, helpers) do
    cond do
      answered?(dump) -> false
      Enum.any?(helpers, &(Proc.state(&1) == "D")) -> true
      true -> waiting_in_kernel?(dump, helpers)
    end
  end

  defp answered?(%{ref: ref}) do
    {:messages, messages} = Process.info(self(), :messages)
    Enum.any?(messages, &match?({:nlns, ^ref, _}, &1))
  end

  # Its end of the pipe is closed with the port, and ends it.
  defp hold_lock(path) do
    ip = "ip -n #{Path.basename(path)} link"
    end_of_pair = "numtxqueues #{@queues} numrxqueues #{@queues}"

    script = """
    (cat; kill $$) <&3 &
    # It may be refused, for want of memory for example.
    while :; do
      #{ip} add v0 #{end_of_pair} type veth peer name v1 #{end_of_pair} || sleep 0.01
      #{ip} del v0
    done 2>/dev/null
    """

    Port.open({:spawn_executable, "/bin/sh"}, [:binary, args: ["-c", "exec 3<&0; " <> script]])
  end
end
