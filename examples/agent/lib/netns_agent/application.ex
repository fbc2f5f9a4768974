defmodule NetnsAgent.Application do
  @moduledoc "The agent's processes: what is known, and on top of it those who find out and who show."

  use Application

  alias NetnsAgent.{Config, Discovery, Http, Metrics, Netlink, Scraper, Store}

  @impl true
  def start(_type, _args) do
    config = :netns_agent |> Application.get_all_env() |> Config.new!()
    read = &Netlink.read/2
    lanes = for lane <- [:fresh, :healthy, :failing], do: {Scraper, {lane, config, read}}
    workers = lanes ++ [{Discovery, config}, Metrics, {Http, config}]
    # A worker may crash without the others; without what is above, none of them can go on.
    link = [workers, [strategy: :one_for_one, max_restarts: 10]]
    workers = %{id: :workers, type: :supervisor, start: {Supervisor, :start_link, link}}

    connections =
      {Task.Supervisor, name: NetnsAgent.Connections, max_children: config.connections}

    Supervisor.start_link([Store, connections, workers], strategy: :rest_for_one)
  end
end
