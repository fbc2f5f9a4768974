defmodule NetnsAgent.Watcher do
  @moduledoc """
  Follows namespaces as they come and go.

  By looking again and again: procfs cannot be watched, and a look costs two microseconds a name and
  seven a process. A namespace is known `discover_every` after it was made, at the latest, and is then
  read at once.
  """

  use GenServer

  require Logger

  alias NetnsAgent.{Config, Discovery, Scraper, Store}

  @spec start_link(Config.t()) :: GenServer.on_start()
  def start_link(config), do: GenServer.start_link(__MODULE__, config, name: __MODULE__)

  @impl true
  def init(config), do: {:ok, %{config: config, dropped: 0}, {:continue, :look}}

  @impl true
  def handle_continue(:look, state), do: look(state)

  @impl true
  def handle_info(:look, state), do: look(state)

  defp look(%{config: config} = state) do
    {found, dropped} = Discovery.scan(config)

    for id <- Store.ids(), not is_map_key(found, id), do: gone(id)
    new = for {_id, namespace} <- found, Store.put(namespace) == :new, do: namespace
    Store.count(:came, length(new))
    if new != [], do: Scraper.fresh()

    if dropped > 0 and state.dropped == 0 do
      Logger.warning("netns_agent: #{dropped} namespaces more than max_namespaces, not followed")
    end

    Store.set(:dropped, dropped)
    Process.send_after(self(), :look, config.discover_every)
    {:noreply, %{state | dropped: dropped}}
  end

  defp gone(id) do
    Store.delete(id)
    Store.count(:gone)
  end
end
