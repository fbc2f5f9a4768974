defmodule Nlns.Soak.Callers do
  @moduledoc false
  # What random callers do, over and over: every function of the API, and what they get is checked.

  alias Nlns.{Handle, Netlink, Rtnetlink}
  alias Nlns.Soak.{Tally, World}

  # {how often, what}
  @actions [
    {20, :open_in_netns},
    {8, :open_any},
    {8, :async_await},
    {8, :async_cancel},
    {6, :to_socket},
    {6, :open_socket},
    {8, :exchange},
    {4, :exchange_cancel},
    {2, :exchange_stream},
    {2, :exchange_timeout},
    {4, :short_timeout},
    {3, :release},
    {3, :bad_path},
    {2, :unread_handles},
    {2, :bind},
    {1, :flooded_mailbox},
    {1, :burst}
  ]

  @weighted Enum.flat_map(@actions, fn {weight, action} -> List.duplicate(action, weight) end)

  # AF_PACKET closes slowly (it waits for RCU), so it comes seldom.
  @families List.duplicate({:inet, :stream, :default}, 8) ++
              List.duplicate({:inet6, :dgram, :default}, 8) ++
              List.duplicate({:local, :stream, :default}, 8) ++
              List.duplicate({:netlink, :raw, 0}, 8) ++ [{:packet, :raw, :default}]

  @doc "One random action on a random slot, to its end."
  def act(slots) do
    action = Enum.random(@weighted)
    Tally.count(action)
    act(action, :rand.uniform(slots) - 1)
  end

  defp act(:open_in_netns, slot) do
    checked(slot, fn path -> cookie(Nlns.open_in_netns(path, 0)) end)
  end

  defp act(:open_any, slot) do
    {domain, type, protocol} = Enum.random(@families)
    checked(slot, fn path -> cookie(Nlns.open_fd(netns(path), domain, type, protocol)) end)
  end

  defp act(:async_await, slot) do
    checked(slot, fn path ->
      path |> Nlns.open_in_netns_async(0) |> Nlns.await() |> fd() |> cookie()
    end)
  end

  defp act(:async_cancel, slot) do
    request = Nlns.open_in_netns_async(path(slot), 0)
    spin()
    Nlns.cancel(request)
    ref = request.ref

    receive do
      {:nlns, ^ref, _} -> Tally.violation("a message after its cancel")
    after
      0 -> :ok
    end
  end

  defp act(:to_socket, slot) do
    %{ref: ref} = Nlns.open_async(path(slot), :inet, :stream, :default)

    with {:ok, handle} <- answer(ref) do
      {:ok, socket} = Handle.to_socket(handle)
      {:error, :closed} = Handle.to_fd(handle)
      :socket.close(socket)
    end
  end

  defp act(:open_socket, slot) do
    with {:ok, socket} <- Nlns.open_socket(netns(path(slot)), :inet, :dgram, :udp) do
      :ok = :socket.bind(socket, %{family: :inet, addr: :loopback, port: 0})
      :socket.close(socket)
    end
  end

  defp act(:exchange, slot) do
    checked(slot, fn path ->
      path |> netns() |> Netlink.execute(:route, World.read_mark()) |> World.mark()
    end)
  end

  defp act(:exchange_cancel, slot) do
    request = Netlink.execute_async(path(slot), :route, World.read_mark())
    spin()
    Nlns.cancel(request)
    ref = request.ref

    receive do
      {:nlns, ^ref, _} -> Tally.violation("a message after its cancel")
    after
      0 -> :ok
    end
  end

  # Some are halted in the middle.
  defp act(:exchange_stream, slot) do
    for(n <- 0..15, do: path(rem(slot + n, World.count())))
    |> Netlink.stream(:route, World.read_mark(), ordered: :rand.uniform(2) == 1, max_in_flight: 5)
    |> Stream.take(:rand.uniform(16))
    |> Enum.each(fn {_path, answer} -> Tally.count(outcome(World.mark(answer))) end)
  end

  # Nothing answers a route lookup that is too short.
  defp act(:exchange_timeout, slot) do
    silent = %Netlink.Message{type: 0}
    timeout = :rand.uniform(30) - 1

    with {:ok, answer} <- Netlink.execute(path(slot), :fib_lookup, silent, timeout: timeout),
         do: Tally.violation("an answer of nobody: #{inspect(answer)}")
  end

  defp act(:short_timeout, slot) do
    case Nlns.open_in_netns(path(slot), 0, :rand.uniform(3) - 1) do
      {:ok, fd} -> Nlns.close_fd(fd)
      {:error, reason} -> Tally.count({:short_timeout, reason})
    end
  end

  defp act(:release, slot) do
    with {:error, reason} <- Nlns.release(path(slot)),
         do: Tally.violation("a release is answered with #{inspect(reason)}")
  end

  defp act(:bad_path, _slot) do
    {path, expected} =
      Enum.random([
        {"/nonexistent", {:open, 2}},
        {"/proc/self/ns/uts", {:setns, 22}},
        {"/dev/null", {:setns, 22}},
        {"/dev/null/x", {:open, 20}},
        {"", {:open, 2}},
        {"a\0b", {:open, 22}},
        {String.duplicate("x", 5_000), {:open, 36}}
      ])

    answer = Nlns.open_in_netns(path, 0)
    if answer != {:error, expected}, do: Tally.violation("#{path}: #{inspect(answer)}")
  end

  # Dropped with the process, which ends.
  defp act(:unread_handles, slot) do
    path = path(slot)
    aside(fn -> for _ <- 1..20, do: Nlns.open_in_netns_async(path, 0) end)
  end

  defp act(:bind, slot) do
    with {:ok, fd} <- Nlns.open_in_netns(path(slot), 0) do
      :ok = Nlns.bind_netlink(fd, 0xFFFF_FFFF)
      Nlns.close_fd(fd)
    end
  end

  defp act(:flooded_mailbox, slot) do
    aside(fn ->
      for n <- 1..20_000, do: send(self(), {:unrelated, n})
      for _ <- 1..10, do: act(:open_in_netns, slot)
    end)
  end

  defp act(:burst, slot) do
    path = path(slot)

    aside(fn ->
      requests = for _ <- 1..burst(), do: Nlns.open_in_netns_async(path, 0)

      for request <- requests do
        if :rand.uniform(2) == 1,
          do: Nlns.cancel(request),
          else: with({:ok, handle} <- answer(request.ref), do: Handle.close(handle))
      end
    end)
  end

  @doc "What names a slot, whether it is there or not."
  def path(slot) do
    case World.look(slot) do
      {_, _, nil, _, _} -> "/nonexistent/path"
      {_, _, path, _, _} -> path
    end
  end

  @doc "The answer of an asynchronous request, by its reference."
  def answer(ref) do
    receive do
      {:nlns, ^ref, answer} -> answer
    after
      Nlns.Patience.within(30_000) ->
        Tally.violation("a request without an answer")
        {:error, :none}
    end
  end

  @doc "How many requests at once: no more than a part of the descriptors that there may be."
  def burst do
    [_, limit] = Regex.run(~r/^Max open files\s+(\d+)/m, File.read!("/proc/self/limits"))
    min(300, div(String.to_integer(limit), 40))
  end

  defp fd({:ok, handle}), do: Handle.to_fd(handle)
  defp fd(error), do: error

  defp cookie({:ok, fd}) do
    cookie = Rtnetlink.cookie(fd)
    Nlns.close_fd(fd)
    {:ok, cookie}
  end

  defp cookie(error), do: error

  # Asks by `ask` and compares the place with what the slot was before and after.
  defp checked(slot, ask) do
    before = World.look(slot)

    with {_, _, path, _, _} when path != nil <- before do
      answer = ask.(path)
      is = World.look(slot)

      if World.possible?(before, is, answer),
        do: Tally.count(outcome(answer)),
        else: Tally.violation("#{inspect(answer)} for #{inspect(before)} to #{inspect(is)}")
    end
  end

  defp outcome({:ok, _}), do: :opened
  defp outcome({:error, reason}), do: reason

  defp netns("/run/netns/" <> name = path), do: Enum.random([path, {:name, name}])

  defp netns("/proc/" <> rest = path) do
    {pid, _} = Integer.parse(rest)
    Enum.random([path, {:pid, pid}])
  end

  defp netns(path), do: path

  defp spin, do: for(_ <- 1..:rand.uniform(2_000), do: :ok)

  # In a process of its own, to its end.
  defp aside(fun) do
    {pid, monitor} = spawn_monitor(fun)

    receive do
      {:DOWN, ^monitor, :process, ^pid, :normal} -> :ok
      {:DOWN, ^monitor, :process, ^pid, reason} -> Tally.violation(inspect(reason))
    end
  end
end
