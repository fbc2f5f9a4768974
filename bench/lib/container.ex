defmodule Bench.Container do
  @moduledoc """
  A process in a network namespace of its own, as container runtimes make them.

  It ends when it is told to, or with the VM, whose end closes its standard input.
  """

  @enforce_keys [:port, :pid, :path]
  defstruct @enforce_keys

  def start do
    unshare = System.find_executable("unshare") || raise "there is no unshare(1)"
    # Tells when it is there, and waits.
    arguments = ["-n", "sh", "-c", "echo; read -r _"]
    port = Port.open({:spawn_executable, unshare}, [:binary, :exit_status, args: arguments])

    receive do
      {^port, {:data, "\n"}} -> :ok
      {^port, {:exit_status, status}} -> raise "unshare -n ended with #{status}"
    end

    {:os_pid, pid} = Port.info(port, :os_pid)
    %__MODULE__{port: port, pid: pid, path: "/proc/#{pid}/ns/net"}
  end

  @doc "Returns once the process has ended; the kernel takes the namespace down after that."
  def stop(%__MODULE__{port: port}) do
    Port.command(port, "\n")

    receive do
      {^port, {:exit_status, _}} -> :ok
    end
  end
end
