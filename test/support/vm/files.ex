defmodule Nlns.VM.Files do
  @moduledoc false
  # Where VMs under test have their files: directories, and copies of the application.

  import ExUnit.Callbacks, only: [on_exit: 1]

  @doc "A copy of the application, for a VM that shall see it change."
  def copy_app do
    copy = Path.join(new_dir(), "nlns")
    on_exit(fn -> File.rm_rf!(Path.dirname(copy)) end)
    copy_to(copy)
  end

  @doc "A copy of the application, one for the whole run."
  def app, do: once(:app, fn -> copy_to(Path.join(suite_dir(), "nlns")) end)

  defp suite_dir do
    once(:suite_dir, fn ->
      dir = new_dir()
      ExUnit.after_suite(fn _ -> File.rm_rf!(dir) end)
      dir
    end)
  end

  defp once(key, make) do
    :global.trans({{__MODULE__, key}, self()}, fn ->
      with nil <- :persistent_term.get({__MODULE__, key}, nil) do
        made = make.()
        :persistent_term.put({__MODULE__, key}, made)
        made
      end
    end)
  end

  defp copy_to(copy) do
    File.mkdir_p!(copy)

    for part <- ~w(ebin priv) do
      {"", 0} = System.cmd("cp", ["-rL", Application.app_dir(:nlns, part), copy])
    end

    copy
  end

  @doc "A new directory, for every user: some VMs run as another one."
  def new_dir do
    dir =
      Path.join(
        System.tmp_dir!(),
        "nlns-vm-#{System.pid()}-#{System.unique_integer([:positive])}"
      )

    File.mkdir_p!(dir)
    File.chmod!(dir, 0o777)
    dir
  end
end
