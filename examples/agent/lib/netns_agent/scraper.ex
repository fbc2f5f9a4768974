defmodule NetnsAgent.Scraper do
  @moduledoc """
  Has every namespace read on schedule.

  Namespaces are in one of three lanes, after what became of their last scrape: `:fresh` (none yet),
  `:healthy`, `:failing`. A lane runs one round at a time, and each has its own bound of concurrency,
  so namespaces that time out make only each other wait. A round that is due while the last one of
  its lane is running is skipped and counted as late.
  """

  use GenServer

  require Logger

  alias NetnsAgent.{Config, Round, Scrape, Store}

  @lanes [:fresh, :healthy, :failing]

  @doc "`scrape` is what reads a namespace; a test may want a worse one."
  @spec start_link(Config.t(), Round.scrape()) :: GenServer.on_start()
  def start_link(config, scrape \\ &Scrape.run/2) do
    GenServer.start_link(__MODULE__, {config, scrape}, name: __MODULE__)
  end

  @doc "Tells that there are namespaces that have not been read yet."
  @spec fresh() :: :ok
  def fresh, do: GenServer.cast(__MODULE__, :fresh)

  @impl true
  def init({config, scrape}) do
    schedule(config)
    {:ok, %{config: config, scrape: scrape, running: %{}}}
  end

  @impl true
  def handle_cast(:fresh, state), do: {:noreply, start(state, :fresh)}

  @impl true
  def handle_info(:round, state) do
    schedule(state.config)
    {late, idle} = Enum.split_with(@lanes, &running?(state, &1))
    Enum.each(late, &Store.count({:rounds_late, &1}))
    {:noreply, Enum.reduce(idle, state, &start(&2, &1))}
  end

  def handle_info({ref, :ok}, state) when is_map_key(state.running, ref) do
    Process.demonitor(ref, [:flush])
    {:noreply, finish(state, ref)}
  end

  def handle_info({:DOWN, ref, :process, _pid, reason}, state)
      when is_map_key(state.running, ref) do
    Logger.error("netns_agent: a round ended with " <> Exception.format_exit(reason))
    {:noreply, finish(state, ref)}
  end

  defp schedule(config), do: Process.send_after(self(), :round, config.scrape_every)

  defp start(state, lane) do
    if running?(state, lane), do: state, else: start(state, lane, members(lane))
  end

  defp start(state, _lane, []), do: state

  defp start(%{config: config, scrape: scrape} = state, lane, namespaces) do
    run = fn -> Round.run(namespaces, config, scrape) end
    task = Task.Supervisor.async_nolink(NetnsAgent.Tasks, run)
    put_in(state.running[task.ref], {lane, System.monotonic_time()})
  end

  defp finish(state, ref) do
    {{lane, started}, state} = pop_in(state.running[ref])
    Store.count({:rounds, lane})
    Store.set({:round_took, lane}, System.monotonic_time() - started)
    # Some may have come while this lane could not begin.
    if lane == :fresh, do: start(state, :fresh), else: state
  end

  defp running?(state, lane), do: Enum.any?(state.running, fn {_, {l, _}} -> l == lane end)

  defp members(lane) do
    for {namespace, sample} <- Store.all(), lane(sample) == lane, do: namespace
  end

  defp lane(nil), do: :fresh
  defp lane(%{error: nil}), do: :healthy
  defp lane(_sample), do: :failing
end
