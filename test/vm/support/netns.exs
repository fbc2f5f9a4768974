defmodule Nlns.VM.Netns do
  @moduledoc false
  # Network namespaces with names, for the test and the VM that it starts alike.

  @doc "Makes one; answers its name."
  def new do
    name = "vm#{System.pid()}x#{System.unique_integer([:positive])}"
    ip!(~w(netns add #{name}))
    name
  end

  @doc "Makes one that goes when the test ends; answers its path."
  def new_for_test do
    name = new()
    ExUnit.Callbacks.on_exit(fn -> ip(~w(netns del #{name})) end)
    path(name)
  end

  def path(name), do: "/run/netns/" <> name

  @doc "Gives the namespace of `path` one end of a veth pair; answers the other's name."
  def veth(path) do
    peer = "v#{:erlang.phash2({System.pid(), System.unique_integer()}, 0x7FFFFFFF)}"
    ip!(~w(link add #{peer} type veth peer name inside netns #{Path.basename(path)}))
    peer
  end

  @doc "Deletes the namespace; true when `peer`, and so the namespace itself, is gone within `ms`."
  def gone_after_delete?(path, peer, ms \\ 2_000) do
    ip!(~w(netns del #{Path.basename(path)}))

    gone?(
      "/sys/class/net/#{peer}",
      System.monotonic_time(:millisecond) + Nlns.Patience.within(ms)
    )
  end

  defp gone?(file, deadline) do
    cond do
      not File.exists?(file) -> true
      System.monotonic_time(:millisecond) > deadline -> false
      true -> Process.sleep(5) && gone?(file, deadline)
    end
  end

  def ip!(args), do: {"", 0} = ip(args)
  defp ip(args), do: System.cmd("ip", args, stderr_to_stdout: true)
end
