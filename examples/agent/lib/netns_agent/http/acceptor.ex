defmodule NetnsAgent.Http.Acceptor do
  @moduledoc """
  Takes one connection at a time and has it served in a process of its own, which it waits for: what a
  request needs of memory ends with it, and one that takes too long is killed.
  """

  alias NetnsAgent.{Config, Http}

  # ms for all of a connection: reading, answering, sending.
  @deadline 20_000

  # ms before another try when there are no descriptors or memory for a connection: accept(2).
  @pause 100

  @spec run(:gen_tcp.socket(), Config.t()) :: no_return()
  def run(listener, config) do
    case :gen_tcp.accept(listener) do
      {:ok, socket} ->
        serve(socket, config)

      {:error, :closed} ->
        exit(:shutdown)

      {:error, reason} when reason in [:emfile, :enfile, :enomem, :enobufs] ->
        Process.sleep(@pause)

      # Of this connection only: it was gone before it could be taken.
      {:error, _reason} ->
        :ok
    end

    run(listener, config)
  end

  defp serve(socket, config) do
    task =
      Task.Supervisor.async_nolink(NetnsAgent.Tasks, fn ->
        receive do
          :yours -> Http.Connection.serve(socket, config)
        end
      end)

    # The socket is closed with its owner, however that ends.
    :gen_tcp.controlling_process(socket, task.pid)
    send(task.pid, :yours)
    Task.yield(task, @deadline) || Task.shutdown(task, :brutal_kill)
  end
end
