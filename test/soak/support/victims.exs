defmodule Nlns.Soak.Victims do
  @moduledoc false
  # Callers that are killed: before, during and after the answer, with it unread, between taking and
  # adopting.
  #
  # What owns a descriptor by its number alone loses it when it is killed, as promised; so those who ask
  # for a number are stopped first, and killed only if they have not got it yet.

  alias Nlns.{Handle, Netlink}
  alias Nlns.Soak.{Callers, Tally, World}

  @handles [:unread, :read, :adopting, :open_socket, :cancelling, :exchanging, :waiting]
  @numbers [:open_in_netns, :await]

  @doc "One victim."
  def act(slots) do
    path = Callers.path(:rand.uniform(slots) - 1)
    kind = Enum.random(@handles ++ @numbers)
    {pid, monitor} = spawn_monitor(fn -> live(kind, path) end)
    wait(:rand.uniform(40))
    if kind in @numbers, do: kill_before_it_owns(pid), else: Process.exit(pid, :kill)

    receive do
      {:DOWN, ^monitor, :process, ^pid, :killed} -> Tally.count({:killed, kind})
      {:DOWN, ^monitor, :process, ^pid, :normal} -> Tally.count(:not_killed_in_time)
      {:DOWN, ^monitor, :process, ^pid, reason} -> Tally.violation(inspect(reason))
    after
      Nlns.Patience.within(30_000) -> Tally.violation("a victim that does not end: #{kind}")
    end
  end

  defp live(:unread, path) do
    for _ <- 1..10, do: Nlns.open_in_netns_async(path, 0)
    Process.sleep(:infinity)
  end

  defp live(:read, path) do
    handles = for _ <- 1..10, do: Callers.answer(Nlns.open_in_netns_async(path, 0).ref)
    Process.sleep(:infinity)
    handles
  end

  defp live(:adopting, path) do
    with {:ok, handle} <- Callers.answer(Nlns.open_async(path, :inet, :stream, :default).ref),
         do: Handle.to_socket(handle)

    live(:adopting, path)
  end

  defp live(:open_socket, path) do
    Nlns.open_socket(path, :inet, :stream, :default)
    live(:open_socket, path)
  end

  defp live(:exchanging, path) do
    for _ <- 1..10, do: Netlink.execute_async(path, :route, World.read_mark())
    for _ <- Netlink.stream([path, path], :route, World.read_mark()), do: :ok
    live(:exchanging, path)
  end

  # Nothing answers a route lookup that is too short.
  defp live(:waiting, path),
    do: Netlink.execute(path, :fib_lookup, %Netlink.Message{type: 0}, timeout: :infinity)

  # A request that was cancelled has its place in the queue until a helper comes by.
  defp live(:cancelling, path) do
    for _ <- 1..100, do: Nlns.cancel(Nlns.open_in_netns_async(path, 0))
    Process.sleep(:infinity)
  end

  defp live(:open_in_netns, path), do: path |> Nlns.open_in_netns(0) |> close()
  defp live(:await, path), do: path |> Nlns.open_in_netns_async(0) |> Nlns.await()

  defp close({:ok, fd}), do: Nlns.close_fd(fd)
  defp close(error), do: error

  # In the receive of either function a caller has not got its number yet.
  defp kill_before_it_owns(pid) do
    :erlang.suspend_process(pid)

    case Process.info(pid, :current_function) do
      {_, {Nlns.Request, fun, _}} when fun in [:run, :await] ->
        Process.exit(pid, :kill)

      _ ->
        :ok
    end

    :erlang.resume_process(pid)
  rescue
    # It has ended.
    ArgumentError -> :ok
  end

  # From no time at all to some 400 µs.
  defp wait(n) when n < 20, do: for(_ <- 1..(n * 500), do: :ok)
  defp wait(_), do: :erlang.yield()
end
