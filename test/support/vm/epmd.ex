defmodule Nlns.VM.Epmd do
  @moduledoc false
  # A port mapper of the test's own, on the loopback interface, so that no node is ever registered with,
  # nor left behind in, the machine's.

  import ExUnit.Callbacks, only: [on_exit: 1]
  import Nlns.Patience

  @doc "Starts one, until the end of the test; answers the options for a VM that is a node."
  def start do
    port = free_port()
    # In a namespace of the tests' own it may be down.
    System.cmd("ip", ~w(link set lo up), stderr_to_stdout: true)
    path = Path.join(:code.root_dir(), "bin/epmd")
    path = System.find_executable("epmd") || path
    args = ~w(-port #{port} -address 127.0.0.1)
    epmd = Port.open({:spawn_executable, path}, [:binary, :stderr_to_stdout, args: args])
    {:os_pid, pid} = Port.info(epmd, :os_pid)
    on_exit(fn -> System.cmd("kill", ["#{pid}"], stderr_to_stdout: true) end)
    await(port, div(within(), 10))
    interface = "-kernel inet_dist_use_interface {127,0,0,1}"
    cookie = "nlns#{System.unique_integer([:positive])}"

    [
      env: [{"ERL_EPMD_PORT", "#{port}"}, {"ERL_EPMD_ADDRESS", "127.0.0.1"}],
      erl: "-sname home@localhost -setcookie #{cookie} #{interface}"
    ]
  end

  defp free_port do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :gen_tcp.close(socket)
    port
  end

  defp await(port, tries) when tries > 0 do
    case :gen_tcp.connect({127, 0, 0, 1}, port, [], 1_000) do
      {:ok, socket} -> :gen_tcp.close(socket)
      {:error, _} -> Process.sleep(10) && await(port, tries - 1)
    end
  end
end
