defmodule NetnsAgent.Watcher do
  @moduledoc """
  Follows namespaces as they come and go, by looking again and again: procfs cannot be watched. One is
  known, and read, `discover_every` after it was made at the latest.
  """

  use GenServer

  require Logger

  alias NetnsAgent.{Config, Discovery, Scraper, Store}

  @spec start_link(Config.t()) :: GenServer.on_start()
  def start_link(config), do: GenServer.start_link(__MODULE__, config, name: __MODULE__)

  @impl true
  def init(config), do: {:ok, config, 0}

  @impl true
  def handle_info(:timeout, config) do
    {found, dropped} = Discovery.scan(config)
    gone = for %{id: id} <- Store.namespaces(), not is_map_key(found, id), do: Store.delete(id)
    new = for {_id, namespace} <- found, Store.put(namespace) == :new, do: namespace
    Store.count(:gone, length(gone))
    Store.count(:came, length(new))
    if new != [], do: Scraper.fresh()

    if dropped > 0 and Store.get(:dropped, 0) == 0 do
      Logger.warning("netns_agent: #{dropped} namespaces more than max_namespaces, not followed")
    end

    Store.set(:dropped, dropped)
    {:noreply, config, config.discover_every}
  end
end
