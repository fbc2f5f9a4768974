defmodule NetnsAgent.Application do
  @moduledoc """
  The agent's processes: what is known, who does the work, and on top of both, side by side, who
  decides what is to be done and who shows it.
  """

  use Application

  alias NetnsAgent.{Cluster, Config, Http, Scraper, Store, Watcher}

  @impl true
  def start(_type, _args) do
    config = Config.read!()

    workers = [{Scraper, config}, {Watcher, config}, {Cluster, config}, {Http, config}]

    children = [
      Store,
      {Task.Supervisor, name: NetnsAgent.Tasks},
      # One of them may crash without the others; without what is above, none of them can go on.
      %{
        id: :workers,
        type: :supervisor,
        start: {Supervisor, :start_link, [workers, [strategy: :one_for_one]]}
      }
    ]

    Supervisor.start_link(children, strategy: :rest_for_one, name: NetnsAgent.Supervisor)
  end
end
