defmodule NetnsAgent do
  @moduledoc """
  Watches the network namespaces of a machine: which there are, what their interfaces carry, and
  whether a TCP port inside answers. `README.md` has the whole picture.

  These functions are what the HTTP server, other machines' agents and IEx ask.
  """

  alias NetnsAgent.{Check, Store}

  # ms that the slowest node may take to answer; the others' answers are there all the same.
  @timeout 1_000

  @doc "Every namespace that is followed, with its last sample, by id."
  @spec namespaces() :: [Store.row()]
  defdelegate namespaces, to: Store, as: :all

  @doc """
  Tries to connect to a TCP port from inside a namespace; see `NetnsAgent.Check.run/3`.

      iex> NetnsAgent.check("no such namespace", 80)
      {:error, :no_such_namespace}
  """
  @spec check(String.t(), :inet.port_number(), keyword()) ::
          {:ok, Check.t()} | {:error, :no_such_namespace}
  def check(id, port, options \\ []) do
    case Store.fetch(id) do
      {:ok, {namespace, _sample}} -> {:ok, Check.run(namespace, port, options)}
      :error -> {:error, :no_such_namespace}
    end
  end

  @doc "This machine in a few numbers: what an overview of many machines shows of each."
  @spec summary() :: %{atom() => term()}
  def summary do
    samples = for {_namespace, sample} <- namespaces(), do: sample
    failing = Enum.count(samples, &(&1 && &1.error))
    links = for %{links: links} <- samples, link <- links, do: link
    rate = fn names -> Enum.sum(for link <- links, name <- names, do: link.rates[name] || 0.0) end

    %{
      node: node(),
      host: elem(:inet.gethostname(), 1) |> to_string(),
      namespaces: length(samples),
      ok: Enum.count(samples, & &1) - failing,
      failing: failing,
      interfaces: length(links),
      receive_rate: rate.([:rx_bytes]),
      transmit_rate: rate.([:tx_bytes]),
      error_rate: rate.([:rx_errors, :tx_errors]),
      drop_rate: rate.([:rx_dropped, :tx_dropped])
    }
  end

  @doc "The summary of every machine, or why there is none."
  @spec overview(timeout()) :: [%{atom() => term()}]
  def overview(timeout \\ @timeout) do
    for {node, answer} <- everywhere(:summary, [], timeout) do
      case answer do
        {:ok, summary} -> summary
        {:error, text} -> %{node: node, error: text}
      end
    end
  end

  @doc """
  Calls one of these functions on every machine at the same time, over Erlang distribution, which connects
  to it if need be. Says what became of each call.

      NetnsAgent.everywhere(:check, ["web", 80])
      #=> [{:"agent@one", {:ok, {:ok, %NetnsAgent.Check{result: :open}}}}, {:"agent@two", {:error, "not connected"}}]
  """
  @spec everywhere(atom(), [term()], timeout()) ::
          [{node(), {:ok, term()} | {:error, String.t()}}]
  def everywhere(function, arguments, timeout \\ @timeout) do
    configured = Application.get_env(:netns_agent, :nodes, [])
    nodes = Enum.sort(Enum.uniq([node() | configured ++ Node.list()]))
    answers = :erpc.multicall(nodes, __MODULE__, function, arguments, timeout)
    Enum.zip(nodes, Enum.map(answers, &answer/1))
  end

  defp answer({:ok, result}), do: {:ok, result}
  defp answer({:error, {:erpc, :noconnection}}), do: {:error, "not connected"}
  defp answer({:error, {:erpc, :timeout}}), do: {:error, "no answer in time"}
  defp answer(_other), do: {:error, "the agent there fails"}
end
