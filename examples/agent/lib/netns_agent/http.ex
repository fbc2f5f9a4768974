defmodule NetnsAgent.Http do
  @moduledoc """
  A small HTTP server: it answers GET and HEAD, one request a connection, and bounds everything.

    * `connections` acceptors, each of which serves one connection at a time; what comes beyond waits in
      the kernel's queue, whose length is bounded too
    * a request has to be complete, and served, within fixed times; its line and headers within fixed sizes
    * each is served in a process of its own, so that a crash is one answer lost

  This supervisor owns the listening socket.
  """

  use Supervisor

  require Logger

  alias NetnsAgent.{Config, Http, Store}

  @backlog 64

  # Bytes of the request line and of each header; what is longer is refused.
  @line 8_192

  @spec start_link(Config.t()) :: Supervisor.on_start()
  def start_link(config), do: Supervisor.start_link(__MODULE__, config, name: __MODULE__)

  @doc "The port it listens on, for those who configured 0."
  @spec port() :: :inet.port_number() | nil
  def port, do: Store.get(:port)

  @impl true
  def init(config) do
    case :gen_tcp.listen(config.port, options(config.ip)) do
      {:ok, socket} ->
        {:ok, port} = :inet.port(socket)
        Store.set(:port, port)
        Logger.info("netns_agent: " <> url(config.ip, port))
        Supervisor.init(acceptors(socket, config), strategy: :one_for_one, max_restarts: 10)

      {:error, reason} ->
        raise "cannot listen on #{url(config.ip, config.port)}: #{:inet.format_error(reason)}"
    end
  end

  defp acceptors(socket, config) do
    for n <- 1..config.connections do
      start = {Task, :start_link, [Http.Acceptor, :run, [socket, config]]}
      %{id: {Http.Acceptor, n}, start: start, restart: :permanent}
    end
  end

  defp options(ip) do
    family = if tuple_size(ip) == 4, do: :inet, else: :inet6

    [
      family,
      :binary,
      ip: ip,
      active: false,
      reuseaddr: true,
      backlog: @backlog,
      packet: :http_bin,
      packet_size: @line,
      send_timeout: 5_000,
      send_timeout_close: true
    ]
  end

  defp url(ip, port) do
    host = ip |> :inet.ntoa() |> to_string()
    host = if tuple_size(ip) == 8, do: "[#{host}]", else: host
    "http://#{host}:#{port}/"
  end
end
