defmodule NetnsAgent.ClusterTest do
  use NetnsAgent.Test.AgentCase, async: false

  alias NetnsAgent.Check
  alias NetnsAgent.Test.Machine

  @names ~w(a b c)

  # Three nodes, and a namespace on a, two on b, three on c.
  setup do
    names =
      for {name, n} <- Enum.with_index(@names, 1), i <- 1..n, do: netns("#{prefix()}#{name}-#{i}")

    epmd = Machine.start_epmd()
    [a, b, c] = Enum.map(@names, &Machine.start(&1, @names, epmd))
    eventually(fn -> counts(a) == [1, 2, 3] end)
    {:ok, a: a, b: b, c: c, names: names, epmd: epmd}
  end

  # Long, because those that can answer do, however busy this machine is.
  @timeout 10_000

  defp overview(machine, timeout \\ @timeout),
    do: Machine.call(machine, NetnsAgent, :overview, [timeout])

  defp counts(machine, timeout \\ @timeout),
    do: machine |> overview(timeout) |> Enum.map(&(&1[:ok] || &1.error))

  test "any of three machines shows all of them", %{a: a, b: b, c: c} do
    for machine <- [a, b, c] do
      eventually(fn -> counts(machine) == [1, 2, 3] end)
      assert [a.node, b.node, c.node] == Enum.map(overview(machine), & &1.node)
    end
  end

  test "a port is checked on whichever machine has the namespace", %{a: a, b: b, names: names} do
    name = Enum.find(names, &(&1 =~ "-b-1"))
    Netns.up_loopback(name)
    port = Netns.listen(name)
    check = [name, port, [timeout: @timeout]]
    answers = Machine.call(a, NetnsAgent, :everywhere, [:check, check, @timeout])

    assert [
             {_, {:ok, {:error, :no_such_namespace}}},
             {node, {:ok, {:ok, %Check{result: :open}}}},
             {_, {:ok, {:error, :no_such_namespace}}}
           ] = answers

    assert node == b.node
  end

  test "a machine that does not answer delays the others' answers by the timeout only", context do
    Machine.pause(context.c)
    {took, counts} = :timer.tc(fn -> counts(context.a, 3_000) end)
    assert [1, 2, "no answer in time"] == counts
    assert took < @timeout * 1_000
    Machine.signal(context.c, "CONT")
    eventually(fn -> counts(context.a) == [1, 2, 3] end)
  end

  test "a machine that dies in the middle of a call is one missing answer", context do
    %{a: a, b: b, c: c} = context

    # It has taken the question, and will not answer any more.
    Machine.pause(c)
    call = Task.async(fn -> overview(a) end)
    refute Task.yield(call, 300)
    Machine.signal(c, "KILL")

    # Who waited until the timeout would say so.
    assert [%{ok: 1}, %{ok: 2}, %{error: "not connected"}] = Task.await(call, patience())

    # It is missed from then on, by all that are left, and nobody waits for it.
    for machine <- [a, b], do: assert([1, 2, "not connected"] == counts(machine))

    # The page says so.
    port = Machine.call(a, NetnsAgent.Http, :port, [])
    assert fetch(port, "/namespaces") =~ ~s({"error":"not connected","node":"#{c.node}"})
    assert fetch(port, "/cluster") =~ ~s("error":"not connected")

    # And it is welcome when it is back.
    Machine.start("c", @names, context.epmd)
    eventually(fn -> counts(a) == [1, 2, 3] end)
  end

  test "a node whose agent is stopped is said to fail", %{a: a, b: b} do
    Machine.call(b, Application, :stop, [:netns_agent])
    assert [1, "the agent there fails", 3] == counts(a)
  end

  defp fetch(port, path) do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false])
    :gen_tcp.send(socket, "GET #{path} HTTP/1.0\r\n\r\n")
    read_all(socket, "")
  end
end
