defmodule NetnsAgent.Cluster do
  @moduledoc """
  The agents of several machines, asked over Erlang distribution. A process connects to the configured nodes,
  again and again as they may be down; asking does not go through it.
  """

  use Task, restart: :permanent

  alias NetnsAgent.{Config, Store}

  @connect_every 5_000

  # ms that the slowest node may take to answer; the others' answers are there all the same.
  @timeout 1_000

  @spec start_link(Config.t()) :: {:ok, pid()}
  def start_link(config) do
    Store.set(:nodes, config.nodes)
    Task.start_link(&connect/0)
  end

  defp connect do
    if Node.alive?(), do: Enum.each(nodes() -- [node() | Node.list()], &Node.connect/1)
    Process.sleep(@connect_every)
    connect()
  end

  @doc """
  Calls a function on every node that is known, at the same time, and says what became of each call.

      NetnsAgent.Cluster.ask(NetnsAgent, :check, ["web", 80])
      #=> [{:"agent@one", {:ok, {:ok, %NetnsAgent.Check{result: :open}}}}, {:"agent@two", {:error, "not connected"}}]
  """
  @spec ask(module(), atom(), [term()], timeout()) ::
          [{node(), {:ok, term()} | {:error, String.t()}}]
  def ask(module, function, arguments, timeout \\ @timeout) do
    # A call to a node that is not connected would first wait for a connection.
    {connected, lost} = Enum.split_with(nodes(), &(&1 in [node() | Node.list()]))
    answers = :erpc.multicall(connected, module, function, arguments, timeout)
    lost = for node <- lost, do: {node, {:error, "not connected"}}
    Enum.sort(lost ++ Enum.zip(connected, Enum.map(answers, &answer/1)))
  end

  @doc "Every machine's `NetnsAgent.summary/0`, or why there is none."
  @spec overview(timeout()) :: [%{atom() => term()}]
  def overview(timeout \\ @timeout) do
    for {node, answer} <- ask(NetnsAgent, :summary, [], timeout) do
      case answer do
        {:ok, summary} -> Map.put(summary, :error, nil)
        {:error, text} -> %{node: node, error: text}
      end
    end
  end

  @doc "This node, those that are configured, and those that are connected."
  @spec nodes() :: [node()]
  def nodes, do: Enum.uniq([node() | Store.get(:nodes, []) ++ Node.list()])

  defp answer({:ok, result}), do: {:ok, result}
  defp answer({:error, {:erpc, :noconnection}}), do: {:error, "not connected"}
  defp answer({:error, {:erpc, :timeout}}), do: {:error, "no answer in time"}
  defp answer({:error, {:exception, :undef, _stack}}), do: {:error, "no agent there"}
  defp answer(_other), do: {:error, "the agent there fails"}
end
