defmodule NetnsAgent.Cluster do
  @moduledoc """
  The agents of several machines, asked over Erlang distribution.

  This process connects to the configured nodes, again and again as they may be down, and remembers
  every node that was ever connected: one that is lost is shown as lost, not left out. Asking does not
  go through it.
  """

  use GenServer

  alias NetnsAgent.{Config, Store}

  @connect_every 5_000

  # ms that the slowest node may take to answer; the others' answers are there all the same.
  @timeout 1_000

  @spec start_link(Config.t()) :: GenServer.on_start()
  def start_link(config), do: GenServer.start_link(__MODULE__, config, name: __MODULE__)

  @doc """
  Calls a function on every node that is known, at the same time, and says what became of each call.

  A node that is down, dies meanwhile, does not answer in time or runs no agent is an error of its own.

      NetnsAgent.Cluster.ask(NetnsAgent, :check, ["web", 80])
      #=> [{:"agent@one", {:ok, {:ok, %NetnsAgent.Check{result: :open}}}}, {:"agent@two", {:error, :noconnection}}]
  """
  @spec ask(module(), atom(), [term()], timeout()) :: [{node(), {:ok, term()} | {:error, term()}}]
  def ask(module, function, arguments, timeout \\ @timeout) do
    # A call to a node that is not connected would first wait for a connection.
    {connected, lost} = Enum.split_with(nodes(), &(&1 == node() or &1 in Node.list()))
    answers = :erpc.multicall(connected, module, function, arguments, timeout)

    Enum.sort(
      Enum.zip(connected, Enum.map(answers, &answer/1)) ++
        Enum.map(lost, &{&1, {:error, :noconnection}})
    )
  end

  @doc "Every machine's `NetnsAgent.summary/0`, or why there is none."
  @spec overview(timeout()) :: [%{atom() => term()}]
  def overview(timeout \\ @timeout) do
    for {node, answer} <- ask(NetnsAgent, :summary, [], timeout) do
      case answer do
        {:ok, summary} -> Map.put(summary, :error, nil)
        {:error, reason} -> %{node: node, error: text(reason)}
      end
    end
  end

  @doc "This node, those that are configured, and those that have been connected."
  @spec nodes() :: [node()]
  def nodes, do: Enum.uniq([node() | Store.get(:nodes, [])])

  @impl true
  def init(config) do
    # Answers :ignored where there is no distribution, and then no message comes.
    :net_kernel.monitor_nodes(true)
    known = Enum.uniq(Store.get(:nodes, []) ++ config.nodes ++ Node.list())
    Store.set(:nodes, known -- [node()])
    {:ok, config, {:continue, :connect}}
  end

  @impl true
  def handle_continue(:connect, config), do: connect(config)

  @impl true
  def handle_info(:connect, config), do: connect(config)
  def handle_info({:nodedown, _node}, config), do: {:noreply, config}

  def handle_info({:nodeup, node}, config) do
    Store.set(:nodes, Enum.uniq([node | Store.get(:nodes, [])]))
    {:noreply, config}
  end

  defp connect(config) do
    if Node.alive?(), do: Enum.each(Store.get(:nodes, []) -- Node.list(), &Node.connect/1)
    Process.send_after(self(), :connect, @connect_every)
    {:noreply, config}
  end

  defp answer({:ok, result}), do: {:ok, result}
  defp answer({:error, {:erpc, reason}}), do: {:error, reason}
  defp answer({:error, {:exception, :undef, _stack}}), do: {:error, :no_agent}
  defp answer({:error, {:exception, reason, _stack}}), do: {:error, reason}
  defp answer({kind, reason}), do: {:error, {kind, reason}}

  defp text(:noconnection), do: "not connected"
  defp text(:timeout), do: "no answer in time"
  defp text(:no_agent), do: "no agent there"
  defp text(_reason), do: "the agent there fails"
end
