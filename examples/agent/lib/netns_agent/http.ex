defmodule NetnsAgent.Http do
  @moduledoc """
  Takes connections, and sees to it that no client keeps others out.

  Each connection is a process of its own (`NetnsAgent.Http.Connection`), so that a crash is one answer
  lost, and what a request needs of memory ends with it. There are at most `connections`. One more takes
  the place of another: of the oldest that has its answer, that has not said all that it asks for, that
  has a port or a machine asked, or that is taking its answer, in this order. None gives way for as long
  as the agent alone has something to do for it.

  A port of `:gen_tcp` would keep descriptor and answer after its process has given way, until the client takes
  it. A `:socket` is closed with its owner.
  """

  use Task, restart: :permanent

  require Logger

  alias NetnsAgent.{Config, Http.Connection, Store}

  # Those that may give way, `{stage, since, pid}`, in the order in which they do.
  @table __MODULE__
  @type stage :: :answered | :asking | :checking | :taking

  # ms that each has before it gives way: what a client on this network sends at once is there by then.
  # Also before another look whether there is room, or descriptors or memory for a connection: accept(2).
  @grace 10

  # How many connections the kernel keeps that have not been taken yet.
  @backlog 1_024

  @doc "Opens the listening socket, which is the calling process's, as is the table of those that may give way."
  @spec listen(Config.t()) :: {:ok, :socket.socket()} | {:error, String.t()}
  def listen(%{ip: ip, port: port}) do
    :ets.new(@table, [:ordered_set, :public, :named_table])
    family = if tuple_size(ip) == 4, do: :inet, else: :inet6
    url = &"http://#{host(ip)}:#{&1}/"

    with {:ok, listener} <- :socket.open(family, :stream, :tcp),
         :ok <- :socket.setopt(listener, {:socket, :reuseaddr}, true),
         :ok <- :socket.bind(listener, %{family: family, addr: ip, port: port}),
         :ok <- :socket.listen(listener, @backlog),
         {:ok, %{port: port}} <- :socket.sockname(listener) do
      Store.set(:port, port)
      Logger.info("netns_agent: #{url.(port)}")
      {:ok, listener}
    else
      {:error, reason} ->
        {:error, "cannot listen on #{url.(port)}: #{:inet.format_error(reason)}"}
    end
  end

  def start_link({listener, config}), do: Task.start_link(fn -> accept(listener, config) end)

  @doc "The port it listens on, for those who configured 0."
  @spec port() :: :inet.port_number() | nil
  def port, do: Store.get(:port)

  @doc "An address as a URL has it, for one of IPv4 also if it came in over IPv6."
  @spec host(:inet.ip_address()) :: String.t()
  def host({0, 0, 0, 0, 0, 0xFFFF, _, _} = ip), do: host(:inet.ipv4_mapped_ipv6_address(ip))
  def host({_, _, _, _} = ip), do: "#{:inet.ntoa(ip)}"
  def host(ip), do: "[#{:inet.ntoa(ip)}]"

  @doc "Lets the calling process give way to others while `fun` runs, which depends on its client."
  @spec in_stage(stage(), (() -> result)) :: result when result: term()
  def in_stage(stage, fun) do
    row = {stage, now(), self()}
    :ets.insert(@table, {row})
    result = fun.()
    :ets.delete(@table, row)
    result
  end

  defp accept(listener, config) do
    case :socket.accept(listener) do
      {:ok, socket} -> serve(socket, config)
      # Without descriptors one that gives way leaves its own.
      {:error, _reason} -> make_room()
    end

    accept(listener, config)
  end

  defp serve(socket, config) do
    # One that was killed has left its row.
    if :ets.info(@table, :size) > config.connections, do: forget_dead()

    case Task.Supervisor.start_child(NetnsAgent.Connections, Connection, :serve, [socket, config]) do
      {:ok, pid} ->
        :socket.setopt(socket, {:otp, :controlling_process}, pid)
        send(pid, :yours)

      {:error, :max_children} ->
        make_room()
        serve(socket, config)
    end
  end

  defp make_room do
    with {_stage, since, pid} = oldest <- :ets.first(@table),
         true <- now() - since > @grace and waits?(pid) do
      Task.Supervisor.terminate_child(NetnsAgent.Connections, pid)
      :ets.delete(@table, oldest)
    else
      _ -> Process.sleep(@grace)
    end
  end

  defp forget_dead do
    for {{_stage, _since, pid} = row} <- :ets.tab2list(@table),
        not Process.alive?(pid),
        do: :ets.delete(@table, row)
  end

  # On a busy machine what it waited for may be there, and only it has not got to run yet.
  defp waits?(pid) do
    waits = [status: :waiting, message_queue_len: 0]
    Process.info(pid, Keyword.keys(waits)) in [nil, waits]
  end

  defp now, do: System.monotonic_time(:millisecond)
end
