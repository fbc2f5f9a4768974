defmodule Nlns.Strace do
  @moduledoc "The system calls of this VM, counted or listed by strace(1)."

  import ExUnit.Assertions
  import Nlns.Patience

  @doc "What `strace -f` with these arguments says of the VM while `fun` runs."
  @spec of([String.t()], Path.t(), fun()) :: String.t()
  def of(args, file, fun) do
    strace = System.find_executable("strace") || flunk("strace is not installed")
    args = ["-f"] ++ args ++ ["-o", file, "-p", System.pid()]
    options = [:binary, :exit_status, :stderr_to_stdout, args: args]
    port = Port.open({:spawn_executable, strace}, options)
    {:os_pid, os_pid} = Port.info(port, :os_pid)
    assert_receive {^port, {:data, said}}, within()
    assert said =~ "attached"
    fun.()
    {_, 0} = System.cmd("kill", ["-INT", "#{os_pid}"])
    await_exit(port)
    File.read!(file)
  end

  defp await_exit(port) do
    receive do
      {^port, {:data, _}} -> await_exit(port)
      {^port, {:exit_status, _}} -> :ok
    after
      within() -> flunk("strace has not ended")
    end
  end
end
