defmodule NetnsAgent.Http do
  @moduledoc """
  Owns the listening socket, takes connections, and sees to it that no client keeps others out.

  Each connection is a process of its own (`NetnsAgent.Http.Connection`), so that a crash is one answer
  lost, and what a request needs of memory ends with it. There are at most `connections`. One more takes
  the place of another: of the oldest that has not said all that it asks for, that has a port or a machine
  asked, or that is taking its answer, in this order. None gives way for as long as the agent alone has
  something to do for it.
  """

  require Logger

  alias NetnsAgent.{Config, Http.Connection, Store}

  # Those that may give way, `{stage, since, pid}`, in the order in which they do.
  @table __MODULE__
  @type stage :: :asking | :checking | :taking

  # ms that each has before it gives way: what a client on this network sends at once is there by then.
  @grace 10

  # ms before another look whether there is room, or descriptors or memory for a connection: accept(2).
  @pause 5

  # ms that an answer may take to its client, if nobody else needs the place.
  @send_timeout 30_000

  # How many connections the kernel keeps that have not been taken yet.
  @backlog 1_024

  @spec child_spec(Config.t()) :: Supervisor.child_spec()
  def child_spec(config), do: %{id: __MODULE__, start: {__MODULE__, :start_link, [config]}}

  @spec start_link(Config.t()) :: {:ok, pid()} | {:error, term()}
  def start_link(config), do: :proc_lib.start_link(__MODULE__, :init, [config])

  @doc "The port it listens on, for those who configured 0."
  @spec port() :: :inet.port_number() | nil
  def port, do: Store.get(:port)

  @doc "Lets the calling process give way to others while `fun` runs, which depends on its client."
  @spec in_stage(stage(), (() -> result)) :: result when result: term()
  def in_stage(stage, fun) do
    row = {stage, now(), self()}
    :ets.insert(@table, {row})
    result = fun.()
    :ets.delete(@table, row)
    result
  end

  @doc false
  @spec init(Config.t()) :: no_return()
  def init(config) do
    :ets.new(@table, [:ordered_set, :public, :named_table])

    host =
      if tuple_size(config.ip) == 8, do: "[#{:inet.ntoa(config.ip)}]", else: :inet.ntoa(config.ip)

    case :gen_tcp.listen(config.port, options(config.ip)) do
      {:ok, listener} ->
        {:ok, port} = :inet.port(listener)
        Store.set(:port, port)
        Logger.info("netns_agent: http://#{host}:#{port}/")
        :proc_lib.init_ack({:ok, self()})
        accept(listener, config)

      {:error, reason} ->
        text = "cannot listen on http://#{host}:#{config.port}/: #{:inet.format_error(reason)}"
        :proc_lib.init_ack({:error, text})
    end
  end

  defp options(ip) do
    family = if tuple_size(ip) == 4, do: :inet, else: :inet6
    common = [ip: ip, active: false, reuseaddr: true, backlog: @backlog]
    [family, :binary] ++ common ++ [send_timeout: @send_timeout, send_timeout_close: true]
  end

  defp accept(listener, config) do
    case :gen_tcp.accept(listener) do
      {:ok, socket} -> serve(socket, config)
      {:error, :closed} -> exit(:shutdown)
      {:error, _reason} -> Process.sleep(@pause)
    end

    accept(listener, config)
  end

  defp serve(socket, config) do
    case Task.Supervisor.start_child(NetnsAgent.Connections, Connection, :serve, [socket, config]) do
      {:ok, pid} ->
        # The socket is closed with its owner, however that ends.
        :gen_tcp.controlling_process(socket, pid)
        send(pid, :yours)

      {:error, :max_children} ->
        with {_stage, since, pid} = oldest <- :ets.first(@table),
             true <- now() - since > @grace and waits?(pid) do
          Task.Supervisor.terminate_child(NetnsAgent.Connections, pid)
          :ets.delete(@table, oldest)
        else
          _ -> Process.sleep(@pause)
        end

        serve(socket, config)
    end
  end

  # On a busy machine what it waited for may be there, and only it has not got to run yet.
  defp waits?(pid) do
    Process.info(pid, [:status, :message_queue_len]) in [
      nil,
      [status: :waiting, message_queue_len: 0]
    ]
  end

  defp now, do: System.monotonic_time(:millisecond)
end
