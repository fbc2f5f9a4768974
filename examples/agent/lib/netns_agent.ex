defmodule NetnsAgent do
  @moduledoc """
  Watches the network namespaces of a machine: which there are, what their interfaces carry, and
  whether a TCP port inside answers. `README.md` has the whole picture.

  These functions are what the HTTP server, other nodes and IEx ask. They read what the last scrape
  left, and none but `check/3` enters a namespace.
  """

  alias NetnsAgent.{Check, Sample, Store}

  @doc "Every namespace that is followed, with its last sample, by id."
  @spec namespaces() :: [{NetnsAgent.Namespace.t(), Sample.t() | nil}]
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

    %{
      node: node(),
      host: host(),
      namespaces: length(samples),
      ok: Enum.count(seen, &is_nil(&1.error)),
      failing: Enum.count(seen, & &1.error),
      interfaces: length(links),
      receive_rate: sum(links, :rx_bytes),
      transmit_rate: sum(links, :tx_bytes),
      error_rate: sum(links, :rx_errors) + sum(links, :tx_errors),
      drop_rate: sum(links, :rx_dropped) + sum(links, :tx_dropped)
    }
  end

  defp host do
    {:ok, name} = :inet.gethostname()
    to_string(name)
  end

  defp sum(links, counter) do
    Enum.reduce(links, 0.0, fn link, sum -> sum + Map.get(link.rates, counter, 0.0) end)
  end
end
