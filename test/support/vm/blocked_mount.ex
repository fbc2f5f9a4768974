defmodule Nlns.VM.BlockedMount do
  @moduledoc false
  # A directory in which looking up any path blocks in the kernel; see blocked_mount.sh.

  import ExUnit.Assertions
  import ExUnit.Callbacks, only: [on_exit: 1]
  import Nlns.Patience

  @script Path.join(__DIR__, "blocked_mount.sh")

  @doc """
  Mounts one, until `stop/1` or the end of the test; answers it and a path in it. With
  `"unkillable"` the first thread to look there cannot be killed meanwhile.
  """
  def start(kind \\ []) do
    dir =
      Path.join(
        System.tmp_dir!(),
        "nlns-blocked-#{System.pid()}-#{System.unique_integer([:positive])}"
      )

    File.mkdir_p!(dir)
    on_exit(fn -> remove(dir, 100) end)
    {start_at(dir, kind), Path.join(dir, "blocked")}
  end

  @doc "Mounts one over a directory, until `stop/1` or the end of the test; answers it."
  def start_at(dir, kind \\ []) do
    options = [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      line: 1024,
      args: [@script, dir | List.wrap(kind)]
    ]

    port = Port.open({:spawn_executable, System.find_executable("sh")}, options)
    assert_receive {^port, {:data, {:eol, "ready"}}}, within()
    port
  end

  @doc "Ends it; what is blocked goes on, with an error."
  def stop(port) do
    Port.command(port, "\n")
    assert_receive {^port, {:exit_status, 0}}, within()
  end

  # rmdir(2) of a mount point is EBUSY, and looks at nothing in it.
  defp remove(dir, tries) do
    with {:error, _} <- File.rmdir(dir), true <- tries > 0 do
      Process.sleep(10)
      remove(dir, tries - 1)
    end
  end
end
