defmodule Nlns.Uses.MigratingTest do
  # The before and after of guides/migrating.md, as they are printed there.
  use Nlns.NetnsCase

  alias Nlns.{Guide, Proc}

  @page "guides/migrating.md"
  @count 100

  setup_all do
    on_exit(fn -> Guide.remove(@page) end)
    [SocketBefore, SocketAfter] = Guide.compile(@page)
    :ok
  end

  setup do
    %{path: netns()}
  end

  test "calls_replaced_alone_leak_each_descriptor", %{path: path} do
    leaked = left_by(fn -> apply(SocketBefore, :open, [0, {:path, path}]) end)
    assert length(leaked) == @count
    Enum.each(leaked, &Nlns.close_fd/1)
  end

  test "open_socket_leaks_none", %{path: path} do
    assert left_by(fn -> apply(SocketAfter, :open, [0, {:path, path}]) end) == []
    assert left_by(fn -> apply(SocketAfter, :open, [0, {:pid, own_pid()}]) end) == []
    assert {:error, {:open, 2}} = apply(SocketAfter, :open, [0, {:path, path <> "-nowhere"}])
    assert {:error, {:socket, 93}} = apply(SocketAfter, :open, [255, {:path, path}])
  end

  # The sockets that are open after so many were opened and closed, and were not before.
  defp left_by(open) do
    before = sockets()

    for _ <- 1..@count do
      assert {:ok, socket} = open.()
      assert :ok = :socket.close(socket)
    end

    sockets() -- before
  end

  defp sockets, do: for({fd, "socket:" <> _} <- Proc.descriptors(), do: fd)
  defp own_pid, do: String.to_integer(System.pid())
end
