defmodule Nlns.VM.Callers do
  @moduledoc false
  # Callers in the VM under test, and what must hold when they are done.

  import ExUnit.Assertions
  import Nlns.Patience
  import Nlns.VM.Inside

  alias Nlns.Netns

  @doc "Opens and closes a socket; `:ok`, the reason, or `:no_code` while that is being purged."
  def open(path) do
    with {:ok, fd} <- Nlns.open_in_netns(path, 0, within()), do: close(fd)
  rescue
    # Between a delete and the purge the old library refuses to be loaded a second time.
    UndefinedFunctionError -> :no_code
  end

  # What it owns it must close, be it once the code is back.
  defp close(fd) do
    Nlns.close_fd(fd)
  rescue
    UndefinedFunctionError -> Process.sleep(1) && close(fd)
  end

  @doc "Nobody calls any more: nothing may be open, nobody astray, and the pool must still serve."
  def assert_all_in_order do
    # What still waits has opened none yet.
    assert poll(fn -> sockets() == 0 and Nlns.info().waiting == 0 end),
           "#{sockets()} sockets are open: #{inspect(Nlns.info())}"

    assert strays() == []
    refute_received {:nlns, _, _}
    assert %{died: 0} = Nlns.info()
  end

  @doc "All of the callers are being served, now."
  def assert_served do
    %{opened: opened} = Nlns.info()
    assert poll(fn -> Nlns.info().opened > opened + 64 end)
  end

  @doc "Starts `callers` that open sockets in `paths` until `calm/1`."
  def hammer(paths, callers) do
    calm = :atomics.new(1, [])
    paths = Stream.cycle(paths) |> Enum.take(callers)
    {calm, for(path <- paths, do: Task.async(fn -> call(path, calm, %{}) end))}
  end

  defp call(path, calm, tally) do
    answer = open(path)

    # 64 callers that never pause slow OTP's own work down to seconds: the shutdown of a stopped pool, or, each
    # of them asking for code to be loaded, the purge that they wait for.
    if answer in [{:error, {:thread, 108}}, :no_code], do: Process.sleep(1)
    tally = Map.update(tally, answer, 1, &(&1 + 1))
    if :atomics.get(calm, 1) == 0, do: call(path, calm, tally), else: tally
  end

  @doc "Ends the callers; answers how often each answer came."
  def calm({calm, tasks}) do
    :atomics.put(calm, 1, 1)

    tasks
    |> Task.await_many(2 * within())
    |> Enum.reduce(&Map.merge(&1, &2, fn _, a, b -> a + b end))
  end

  @doc "Brings the pool into a state: `:idle`, `:busy`, `:flooded` or `:stuck`."
  def bring(:idle, paths, _blocked) do
    for path <- paths, do: :ok = open(path)
    true = poll(fn -> Enum.any?(Nlns.info().helpers, &(&1.state == :pinned)) end)
  end

  def bring(:busy, paths, _blocked), do: hammer(paths, 64)

  # Behind a helper that is stuck they wait for certain; elsewhere they are being served, by an error,
  # which needs no descriptor: a VM that is out of them cannot load the code to stop with.
  def bring(:flooded, paths, blocked) do
    for path <- [blocked | paths], do: spawn(fn -> flood(path, 20_000) end)
    true = poll(fn -> Nlns.info().waiting >= 20_000 end)
  end

  # That it is stuck shows when others need a helper.
  def bring(:stuck, [path | _], blocked) do
    spawn(fn -> open(blocked) end)
    true = poll(fn -> Enum.any?(Nlns.info().helpers, &(&1.state in [:serving, :stuck])) end)
    :ok = open(path)
    true = poll(fn -> Nlns.info().stuck == 1 end)
  end

  defp flood(path, count) do
    for _ <- 1..count, do: Nlns.open_in_netns_async(path, 999)
    Process.sleep(:infinity)
  end

  @doc "Every part of the library once, in a namespace that this VM makes."
  def assert_all_works do
    own_run()
    path = Netns.add()
    peer = Netns.add_veth_to_host(path)
    assert {:ok, fd} = Nlns.open_in_netns(path, 0)
    assert Nlns.bind_netlink(fd, 1) == :ok
    assert Nlns.close_fd(fd) == :ok
    assert {:ok, handle} = path |> Nlns.open_in_netns_async(0) |> Nlns.await()
    assert Nlns.Handle.close(handle) == :ok
    assert {:ok, socket} = Nlns.open_socket(path, :inet, :stream, :tcp)
    assert :socket.close(socket) == :ok
    assert {:ok, fd} = Nlns.open_fd(path, :packet, :raw, 0)
    assert Nlns.close_fd(fd) == :ok
    assert Map.keys(calm(hammer([path], 16))) == [:ok]
    assert netns_of(path) in netns_of(helpers())
    assert_all_in_order()
    assert Nlns.release(path) == :ok
    assert Netns.gone_after_delete?(path, peer)
  end
end
