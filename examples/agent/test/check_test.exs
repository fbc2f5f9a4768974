defmodule NetnsAgent.CheckTest do
  use NetnsAgent.Test.AgentCase, async: false

  alias NetnsAgent.{Check, Discovery.Namespace}

  defp check(place, port, options \\ []) do
    namespace = %Namespace{id: "x", identity: {1, nil}, paths: List.wrap(place)}
    Check.run(namespace, port, Keyword.put_new(options, :timeout, patience()))
  end

  test "a port that is open, on a loopback that nobody outside reaches" do
    name = netns()
    Netns.up_loopback(name)
    port = Netns.listen(name)
    assert %Check{result: :open} = check("/run/netns/" <> name, port)
    assert {:error, :econnrefused} = :gen_tcp.connect({127, 0, 0, 1}, port, [])
  end

  test "a port that is closed" do
    name = netns()
    Netns.up_loopback(name)
    assert %Check{result: :refused} = check("/run/netns/" <> name, 1)
  end

  test "a neighbour that does not answer, within the timeout" do
    {one, other} = {netns(), netns()}
    Netns.connect(one, other)
    options = [address: {10, 99, 0, 77}, timeout: 150]
    {took, check} = :timer.tc(fn -> check("/run/netns/" <> one, 80, options) end)
    assert %Check{result: :timeout} = check
    # Long before the kernel gives up: it asks for the neighbour three times, a second each.
    assert took in 150_000..3_000_000
  end

  test "a loopback that is down, a way that is not there, IPv6" do
    path = "/run/netns/" <> netns()
    assert %Check{result: :error, text: "network is unreachable"} = check(path, 80)
    assert %Check{result: :error} = check(path, 80, address: {0, 0, 0, 0, 0, 0, 0, 1})
  end

  test "over IPv6" do
    name = netns()
    Netns.up_loopback(name)
    {:ok, socket} = Nlns.open_socket({:name, name}, :inet6, :stream, :tcp)
    :ok = :socket.bind(socket, %{family: :inet6, addr: :loopback, port: 0})
    :ok = :socket.listen(socket)
    {:ok, %{port: port}} = :socket.sockname(socket)
    options = [address: {0, 0, 0, 0, 0, 0, 0, 1}]
    assert %Check{result: :open} = check("/run/netns/" <> name, port, options)
    # Not before: a socket that no term refers to is closed by the next garbage collection.
    :socket.close(socket)
  end

  test "a namespace that cannot be entered says why" do
    assert %Check{result: :error, text: text} = check("/run/netns/" <> Netns.broken(), 80)
    assert text =~ "EINVAL"
  end

  test "a thousand checks leave no socket open" do
    name = netns()
    Netns.up_loopback(name)
    count = fn -> length(File.ls!("/proc/self/fd")) end
    check("/run/netns/" <> name, 1)
    before = count.()
    for _ <- 1..1_000, do: check("/run/netns/" <> name, 1)
    eventually(fn -> count.() <= before end)
  end
end
