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
end
