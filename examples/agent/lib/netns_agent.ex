defmodule NetnsAgent do
  @moduledoc """
  Watches the network namespaces of a machine: which there are, what their interfaces carry, and
  whether a TCP port inside answers. `README.md` has the whole picture.

  These functions are what the HTTP server, other nodes and IEx ask.
  """

  alias NetnsAgent.{Check, Store}

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
    seen = Enum.reject(samples, &is_nil/1)
    links = Enum.flat_map(seen, & &1.links)
    sum = fn counter -> links |> Enum.map(&Map.get(&1.rates, counter, 0.0)) |> Enum.sum() end

    %{
      node: node(),
      host: elem(:inet.gethostname(), 1) |> to_string(),
      namespaces: length(samples),
      ok: Enum.count(seen, &is_nil(&1.error)),
      failing: Enum.count(seen, & &1.error),
      interfaces: length(links),
      receive_rate: sum.(:rx_bytes),
      transmit_rate: sum.(:tx_bytes),
      error_rate: sum.(:rx_errors) + sum.(:tx_errors),
      drop_rate: sum.(:rx_dropped) + sum.(:tx_dropped)
    }
  end
end
