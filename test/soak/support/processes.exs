defmodule Nlns.Soak.Processes do
  @moduledoc false
  # Processes in network namespaces of their own, many at a time.

  alias Nlns.Soak.Census

  # Past unshare(1) when it says its number; reaped by the shell.
  @script """
  for _ in $(seq "$1"); do unshare --net sh -c 'echo $$; exec sleep 100000' & done; wait
  """

  @doc "Starts so many; their numbers."
  def start(0), do: []

  def start(count) do
    args = ["-c", @script, "sh", "#{count}"]
    sh = System.find_executable("sh")
    port = Port.open({:spawn_executable, sh}, [:binary, :exit_status, line: 80, args: args])
    for _ <- 1..count, do: next(port)
  end

  @doc "Kills them; returns when they are gone."
  def kill([]), do: :ok

  def kill(pids) do
    {"", 0} = System.cmd("kill", ["-9" | Enum.map(pids, &to_string/1)], stderr_to_stdout: true)
    true = Census.eventually(fn -> not Enum.any?(pids, &File.exists?("/proc/#{&1}")) end)
    :ok
  end

  defp next(port) do
    receive do
      {^port, {:data, {:eol, pid}}} -> String.to_integer(pid)
    after
      Nlns.Patience.within(60_000) -> raise "no process in a namespace of its own within a minute"
    end
  end
end
