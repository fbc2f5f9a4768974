defmodule NetnsAgent.Cluster do
  @moduledoc """
  The agents of several machines, asked over Erlang distribution, which connects to a machine when it is asked.
  """

  # ms that the slowest node may take to answer; the others' answers are there all the same.
  @timeout 1_000

  @doc """
  Calls a function on every node that is known, at the same time, and says what became of each call.

      NetnsAgent.Cluster.ask(NetnsAgent, :check, ["web", 80])
      #=> [{:"agent@one", {:ok, {:ok, %NetnsAgent.Check{result: :open}}}}, {:"agent@two", {:error, "not connected"}}]
  """
  @spec ask(module(), atom(), [term()], timeout()) ::
          [{node(), {:ok, term()} | {:error, String.t()}}]
  def ask(module, function, arguments, timeout \\ @timeout) do
    configured = Application.get_env(:netns_agent, :nodes, [])
    nodes = Enum.sort(Enum.uniq([node() | configured ++ Node.list()]))
    answers = :erpc.multicall(nodes, module, function, arguments, timeout)
    Enum.zip(nodes, Enum.map(answers, &answer/1))
  end

  defp answer({:ok, result}), do: {:ok, result}
  defp answer({:error, {:erpc, :noconnection}}), do: {:error, "not connected"}
  defp answer({:error, {:erpc, :timeout}}), do: {:error, "no answer in time"}
  defp answer(_other), do: {:error, "the agent there fails"}

  @doc "Every machine's `NetnsAgent.summary/0`, or why there is none."
  @spec overview(timeout()) :: [%{atom() => term()}]
  def overview(timeout \\ @timeout) do
    for {node, answer} <- ask(NetnsAgent, :summary, [], timeout) do
      case answer do
        {:ok, summary} -> summary
        {:error, text} -> %{node: node, error: text}
      end
    end
  end
end
