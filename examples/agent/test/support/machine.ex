defmodule NetnsAgent.Test.Machine do
  @moduledoc """
  Another machine with an agent, as far as one kernel can show it: a node of its own, which follows
  namespaces that the others do not.

  The tests talk to it over its standard input and output, so that the nodes know each other only.
  """

  import ExUnit.Callbacks, only: [on_exit: 1]

  alias NetnsAgent.Test.{AgentCase, Netns}

  @enforce_keys [:peer, :node, :os_pid]
  defstruct @enforce_keys

  @doc "The node names of machines with these names."
  def nodes(names), do: Enum.map(names, &:"#{Netns.prefix()}#{&1}@127.0.0.1")

  @doc """
  Starts a name server for the nodes, which ends with the test; its port. Otherwise the first of them would start one
  that outlives them all.
  """
  def start_epmd do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, number} = :inet.port(socket)
    :gen_tcp.close(socket)

    epmd = Path.join([:code.root_dir(), "erts-#{:erlang.system_info(:version)}", "bin", "epmd"])
    options = [args: ["-port", "#{number}", "-address", "127.0.0.1"]]
    {:os_pid, pid} = Port.info(Port.open({:spawn_executable, epmd}, options), :os_pid)
    on_exit(fn -> Netns.kill(pid, "KILL", "epmd") end)
    # A node that finds none does not start.
    AgentCase.eventually(fn -> listens?(number) end)
    number
  end

  # Asks for the names, or it would complain of one who says nothing.
  defp listens?(port) do
    with {:ok, socket} <- :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false]) do
      :ok = :gen_tcp.send(socket, <<1::16, "n">>)
      {:ok, _} = :gen_tcp.recv(socket, 0)
      :gen_tcp.close(socket) == :ok
    else
      {:error, :econnrefused} -> false
    end
  end

  @doc "Starts the machine `name` with an agent that knows the nodes of all `names`."
  def start(name, names, epmd) do
    paths = Enum.flat_map(:code.get_path(), &[~c"-pa", &1])
    cookie = String.to_charlist(Netns.prefix())
    loopback = [~c"-kernel", ~c"inet_dist_use_interface", ~c"{127,0,0,1}"]

    {:ok, peer, node} =
      :peer.start(%{
        name: String.to_charlist("#{Netns.prefix()}#{name}"),
        host: ~c"127.0.0.1",
        longnames: true,
        connection: :standard_io,
        env: [{~c"ERL_EPMD_PORT", Integer.to_charlist(epmd)}],
        args: [~c"-start_epmd", ~c"false", ~c"-setcookie", cookie] ++ loopback ++ paths
      })

    os_pid = :peer.call(peer, :os, :getpid, []) |> to_string()
    machine = %__MODULE__{peer: peer, node: node, os_pid: os_pid}
    on_exit(fn -> signal(machine, "KILL") end)

    settings = [
      only: "^#{Netns.prefix()}#{name}-",
      proc: nil,
      port: 0,
      discover_every: 50,
      scrape_every: 100,
      nodes: nodes(names)
    ]

    :ok =
      call(machine, Application, :put_all_env, [[netns_agent: settings, logger: [level: :error]]])

    {:ok, _} = call(machine, Application, :ensure_all_started, [:netns_agent])
    machine
  end

  def call(machine, module, function, arguments) do
    :peer.call(machine.peer, module, function, arguments, 15_000)
  end

  def signal(machine, name), do: Netns.kill(machine.os_pid, name, Netns.prefix())

  @doc "Has the machine stand still. Each thread stops at its next turn on a processor, and may answer until then."
  def pause(machine) do
    signal(machine, "STOP")
    tasks = "/proc/#{machine.os_pid}/task"

    AgentCase.eventually(fn -> Enum.all?(File.ls!(tasks), &stopped?("#{tasks}/#{&1}")) end)
  end

  # "TID (NAME) STATE ...", proc(5). One that has ended meanwhile will not answer either.
  defp stopped?(task) do
    case File.read("#{task}/stat") do
      {:ok, stat} -> stat =~ ~r/\) T /
      {:error, _} -> true
    end
  end
end
