defmodule NetnsAgent.Scraper do
  @moduledoc """
  Has every namespace read on schedule.

  Namespaces are in one of three lanes, after what became of their last reading: `:fresh` (none yet),
  `:healthy`, `:failing`. A lane is a process with a bound of its own, so that namespaces which time out
  make only each other wait. Rounds that are due while a lane is busy are left out.
  """

  use GenServer

  alias NetnsAgent.{Config, Discovery.Namespace, Sample, Store}

  @typedoc "Reads namespaces by their paths, lazily: an element for each, in any order."
  @type read :: ([binary()], Config.t() -> Enumerable.t({binary(), Sample.reading() | :gone}))

  @spec child_spec({Store.lane(), Config.t(), read()}) :: Supervisor.child_spec()
  def child_spec({lane, _config, _read} = state) do
    start = {GenServer, :start_link, [__MODULE__, state, [name: name(lane)]]}
    %{id: {__MODULE__, lane}, start: start}
  end

  @doc "Tells that there are namespaces that have not been read yet."
  @spec fresh() :: :ok
  def fresh, do: GenServer.cast(name(:fresh), :round)

  @doc "What the process of a lane is called."
  @spec name(Store.lane()) :: atom()
  def name(lane), do: Module.concat(__MODULE__, lane)

  @impl true
  def init({_lane, config, _read} = state), do: {:ok, state, config.scrape_every}

  @impl true
  def handle_cast(:round, state), do: handle_info(:timeout, state)

  @impl true
  def handle_info(:timeout, {lane, %{scrape_every: every} = config, read} = state) do
    namespaces = Store.namespaces(lane)
    {took, _} = :timer.tc(fn -> read_all(namespaces, config, read) end)

    if namespaces != [] do
      Store.count({:rounds, lane})
      Store.set({:round_took, lane}, took / 1_000_000)
    end

    # What was read is in the store, and its copy here of no use until the next round.
    :erlang.garbage_collect()
    {:noreply, state, every - rem(div(took, 1_000), every)}
  end

  defp read_all(namespaces, config, read) do
    ids = Map.new(namespaces, &{Namespace.path(&1), &1.id})
    # If nothing is there any more, that is no error, only news that is late.
    for {path, reading} <- read.(Map.keys(ids), config),
        reading != :gone,
        do: keep(ids[path], reading)
  end

  defp keep(id, reading) do
    with {:ok, {_namespace, before}} <- Store.fetch(id) do
      Store.put_sample(id, Sample.next(before, reading, System.monotonic_time(:millisecond)))
    end

    Store.count(:scrapes)
    with {:error, {kind, _text}} <- reading, do: Store.count({:failures, kind})
  end
end
