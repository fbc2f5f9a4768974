defmodule Nlns.PileTest do
  # Sockets that take the kernel milliseconds to close, opened as fast as they can be.
  use Nlns.NetnsCase

  # Those that are on their way from a closed `:socket` to the closers, and those of the callers.
  @slack 32

  setup do
    path = netns()
    eventually(fn -> assert %{closing: 0} = Nlns.info() end)
    %{path: path, sockets: Proc.sockets(), most: Nlns.info().max_closing + @slack}
  end

  # Each way leaves the closing to others. How many more than that are open at any time?
  ways = [
    {"sockets that are closed",
     quote do
       fn path ->
         {:ok, socket} = Nlns.open_socket(path, :packet, :raw, 0x0300)
         :socket.close(socket)
       end
     end},
    {"owners that are killed",
     quote do
       fn path ->
         killed(fn ->
           {:ok, _} = Nlns.open_socket(path, :packet, :raw, 0x0300)
         end)
       end
     end},
    {"owners that are killed while their sockets are closed",
     quote do
       fn path ->
         test = self()

         killed(fn ->
           {:ok, fd} = Nlns.open_fd(path, :packet, :raw, 0x0300)
           spawn(fn -> Nlns.close_fd(fd) end) |> Process.exit(:kill)
           # Closed by one or the other.
           spawn(fn -> Nlns.close_fd(fd) end)
           send(test, :opened)
         end)

         assert_received :opened
       end
     end},
    {"handles that are forgotten",
     quote do
       fn path ->
         {pid, monitor} =
           spawn_monitor(fn ->
             {:ok, _handle} = path |> Nlns.open_async(:packet, :raw, 0) |> Nlns.await()
           end)

         assert_receive {:DOWN, ^monitor, _, ^pid, :normal}
       end
     end},
    {"messages that are not read",
     quote do
       fn path -> killed(fn -> Nlns.open_async(path, :packet, :raw, 0) end) end
     end},
    {"requests that are cancelled at any moment",
     quote do
       fn path -> path |> Nlns.open_async(:packet, :raw, 0) |> Nlns.cancel() end
     end},
    {"requests that time out at any moment",
     quote do
       fn path ->
         case Nlns.open_fd(path, :packet, :raw, 0, timeout: 0) do
           {:ok, fd} -> Nlns.close_fd(fd)
           {:error, reason} -> assert reason == {:thread, 110}
         end
       end
     end}
  ]

  for {what, way} <- ways do
    test "#{what} pile up to the bound", %{path: path, sockets: sockets, most: most} do
      way = unquote(way)

      piles =
        for n <- 1..400 do
          way.(path)
          if rem(n, 5) == 0, do: Proc.sockets() - sockets, else: 0
        end

      assert Enum.max(piles) <= most
    end
  end

  test "a request that is cancelled leaves nothing open", %{path: path, sockets: sockets} do
    requests = for _ <- 1..50, do: Nlns.open_async(path, :packet, :raw, 0x0300)
    for %{ref: ref} <- requests, do: assert_receive({:nlns, ^ref, {:ok, _}})
    assert Proc.sockets() == sockets + 50

    for {request, left} <- Enum.with_index(Enum.reverse(requests)) do
      assert Nlns.cancel(request) == :ok
      assert Proc.sockets() == sockets + 49 - left
    end
  end

  test "opens of other kinds never wait", %{path: path} do
    parent = self()

    callers =
      for _ <- 1..4 do
        spawn_link(fn ->
          loop(fn ->
            {:ok, socket} = Nlns.open_socket(path, :packet, :raw, 0, timeout: 60_000)
            :socket.close(socket)
          end)
        end)
      end

    # Beside the pile, and while it is there, all are served at once: within a tick or two of those that
    # look whether there is room.
    eventually(fn ->
      held_back =
        for _ <- 1..200 do
          {:ok, fd} = Nlns.open_in_netns(path, 0)
          Nlns.close_fd(fd)
          Nlns.info().held_back
        end

      assert Enum.any?(held_back, &(&1 > 0))
    end)

    for caller <- callers, do: send(caller, {:stop, parent})
    for _ <- callers, do: assert_receive(:stopped)
  end

  defp loop(fun) do
    receive do
      {:stop, parent} -> send(parent, :stopped)
    after
      0 ->
        fun.()
        loop(fun)
    end
  end

  defp killed(fun) do
    test = self()

    {pid, monitor} =
      spawn_monitor(fn ->
        fun.()
        send(test, {:done, self()})
        Process.sleep(:infinity)
      end)

    assert_receive {:done, ^pid}
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^monitor, _, _, :killed}
  end
end
