defmodule Nlns.VM.DistributionTest do
  # Callers on other nodes (promise 9): descriptors and handles mean something on their own node only.
  use Nlns.VM

  alias Nlns.VM.Epmd

  setup do
    %{path: netns(), node: Epmd.start()}
  end

  test "a call from another node opens on the node that runs it", %{path: path, node: node} do
    vm [path: path], node do
      {_, away} = start_node()
      assert {:ok, fd} = from(away, Nlns, :open_in_netns, [path, 0])
      assert sockets() == 1
      assert from(away, Nlns, :bind_netlink, [fd, 0]) == :ok
      # There the number means nothing.
      assert :erpc.call(away, Nlns, :close_fd, [fd]) == :ok
      assert sockets() == 1
      assert from(away, Nlns, :close_fd, [fd]) == :ok
      assert sockets() == 0
      assert {:error, {:thread, 108}} = :erpc.call(away, Nlns, :open_in_netns, [path, 0])
      assert_all_in_order()
    end
  end

  test "a request made through erpc loses no descriptor", %{path: path, node: node} do
    vm [path: path], node do
      {_, away} = start_node()

      for _ <- 1..100 do
        # Its owner is a process of this node that has ended before the request is returned.
        assert %Nlns.Request{} = request = from(away, Nlns, :open_in_netns_async, [path, 0])
        assert_raise ArgumentError, ~r/of the calling process/, fn -> Nlns.await(request) end
        assert_raise ArgumentError, ~r/of the calling process/, fn -> Nlns.cancel(request) end
      end

      assert_all_in_order()
    end
  end

  test "a handle on another node answers ArgumentError there, and is whole at home", context do
    vm [path: context.path], context.node do
      {_, away} = start_node()
      %{ref: ref} = Nlns.open_in_netns_async(path, 0)
      assert_receive {:nlns, ^ref, {:ok, handle}}, within()

      for function <- [:to_fd, :to_socket, :close] do
        error = catch_error(:erpc.call(away, Nlns.Handle, function, [handle]))
        assert {:exception, %ArgumentError{message: message}, _} = error
        assert message =~ "expected a handle of this node"
      end

      assert sockets() == 1
      there_and_back = :erpc.call(away, Function, :identity, [handle])
      assert {:ok, fd} = Nlns.Handle.to_fd(there_and_back)
      assert Nlns.Handle.to_fd(handle) == {:error, :closed}
      assert Nlns.close_fd(fd) == :ok
      assert_all_in_order()
    end
  end

  test "a handle that only another node has kept is closed", %{path: path, node: node} do
    vm [path: path], node do
      {_, away} = start_node()

      owner =
        Task.async(fn ->
          %{ref: ref} = Nlns.open_in_netns_async(path, 0)
          assert_receive {:nlns, ^ref, {:ok, handle}}, within()
          Node.spawn(away, Nlns.VM.Inside, :keep, [handle])
        end)

      keeper = Task.await(owner, within())
      assert poll(fn -> sockets() == 0 end)
      # And back home it owns nothing.
      send(keeper, {:give, self()})
      assert_receive {:kept, handle}, within()
      assert Nlns.Handle.to_fd(handle) == {:error, :closed}
      assert_all_in_order()
    end
  end

  test "a node that dies with requests in flight leaves nothing open", %{path: path, node: node} do
    vm [path: path], node do
      {peer, away} = start_node()

      # Processes of this node that belong to one of the other: they end with it.
      for _ <- 1..20, do: Node.spawn(away, Nlns.VM.Inside, :ask_for_ever, [node(), path])
      assert poll(fn -> Nlns.info().opened > 1_000 end)
      os_pid = :erpc.call(away, System, :pid, [])
      {"", 0} = System.cmd("kill", ["-KILL", os_pid])
      assert poll(fn -> Node.list() == [] end)
      # And the connection to that node is one socket less.
      assert poll(fn -> sockets() == -1 end)
      assert poll(fn -> Nlns.info().waiting == 0 end)
      assert open(path) == :ok
      catch_exit(:peer.stop(peer))
    end
  end
end
