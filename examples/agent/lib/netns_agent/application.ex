defmodule NetnsAgent.Application do
  @moduledoc "The agent's processes: what is known and who does the work, and on top of both who decides and who shows."

  use Application

  alias NetnsAgent.{Cluster, Config, Http, Metrics, Scraper, Store, Watcher}

  @impl true
  def start(_type, _args) do
    config = :netns_agent |> Application.get_all_env() |> Config.new!()
    lanes = for lane <- [:fresh, :healthy, :failing], do: {Scraper, {lane, config}}
    workers = lanes ++ [{Watcher, config}, {Cluster, config}, Metrics, {Http, config}]
    limits = [strategy: :one_for_one, max_restarts: 10]
    options = [strategy: :rest_for_one, name: NetnsAgent.Supervisor]

    # A worker may crash without the others; without what is above, none of them can go on.
    Supervisor.start_link(
      [
        Store,
        {Task.Supervisor, name: NetnsAgent.Connections, max_children: config.connections},
        %{
          id: :workers,
          type: :supervisor,
          start: {Supervisor, :start_link, [workers, limits]}
        }
      ],
      options
    )
  end
end
