defmodule NetnsAgent.Application do
  @moduledoc """
  What the agent consists of. This process owns what has to outlive the crash of any other: the tables and
  the listening socket.
  """

  use Application

  alias NetnsAgent.{Config, Discovery, Http, Metrics, Netlink, Scraper, Store}

  @impl true
  def start(_type, _args) do
    # Code cannot be loaded without descriptors. A release has loaded all of it.
    for app <- [:kernel, :stdlib, :elixir, :logger, :nlns, :netns_agent],
        module <- Application.spec(app, :modules),
        do: Code.ensure_loaded(module)

    config = :netns_agent |> Application.get_all_env() |> Config.new!()
    Store.new()

    with {:ok, listener} <- Http.listen(config) do
      lanes =
        for lane <- [:fresh, :healthy, :failing], do: {Scraper, {lane, config, &Netlink.read/2}}

      connections =
        {Task.Supervisor, name: NetnsAgent.Connections, max_children: config.connections}

      children = lanes ++ [{Discovery, config}, Metrics, connections, {Http, {listener, config}}]
      options = [strategy: :one_for_one, max_restarts: 10]
      with {:ok, pid} <- Supervisor.start_link(children, options), do: {:ok, pid, listener}
    end
  end

  @impl true
  def stop(listener), do: :socket.close(listener)
end
