defmodule Nlns.Doctor.SelfTest do
  @moduledoc false
  # Opens for real: in the VM's own namespace, and in one that a process brings and takes with it.

  # asm-generic/socket.h
  @so_netns_cookie {1, 71}

  @timeout 5_000

  @type outcome :: :ok | {:error, String.t()} | {:skipped, String.t()}

  @spec run(:ok | {:error, term()}) :: %{open_home: outcome(), open_other: outcome()}
  def run({:error, _}) do
    skipped = {:skipped, "it needs the application"}
    %{open_home: skipped, open_other: skipped}
  end

  def run(:ok) do
    # By its number: /proc may be another pid namespace's, or nothing.
    own = {:pid, String.to_integer(System.pid())}
    home = cookie(own)
    %{open_home: outcome(home, own), open_other: other(home)}
  end

  defp outcome({:ok, _cookie}, _netns), do: :ok
  defp outcome({:error, reason}, netns), do: {:error, Nlns.format_error(reason, netns)}

  defp other(home) do
    case System.find_executable("unshare") do
      nil -> {:skipped, "it needs unshare(1) of util-linux in PATH"}
      unshare -> with_process(unshare, &compare(&1, cookie(&1), home))
    end
  end

  # Equal, and not both unknown because the kernel has no cookies: the same namespace twice.
  defp compare(_netns, {:ok, cookie}, {:ok, cookie}) when cookie != nil,
    do: {:error, "the socket is in the VM's own namespace; please report this"}

  defp compare(netns, other, _home), do: outcome(other, netns)

  defp cookie(netns) do
    with {:ok, socket} <- Nlns.open_socket(netns, :netlink, :raw, 0, timeout: @timeout) do
      answer = :socket.getopt_native(socket, @so_netns_cookie, 8)
      _ = :socket.close(socket)

      case answer do
        {:ok, cookie} -> {:ok, cookie}
        {:error, _} -> {:ok, nil}
      end
    end
  end

  # Runs `fun` on a process in a new namespace, which ends with its port.
  defp with_process(unshare, fun) do
    # What is said first is said behind unshare(2).
    args = ["--net", "sh", "-c", "echo ready && exec cat"]
    options = [:binary, :exit_status, :stderr_to_stdout, args: args]
    port = Port.open({:spawn_executable, unshare}, options)

    receive do
      {^port, {:data, "ready\n"}} ->
        {:os_pid, pid} = Port.info(port, :os_pid)
        outcome = fun.({:pid, pid})
        Port.close(port)
        outcome

      {^port, {:data, text}} ->
        none_made(String.trim(text <> rest(port)))

      {^port, {:exit_status, status}} ->
        none_made("unshare --net ended with #{status}")
    after
      @timeout ->
        Port.close(port)
        none_made("unshare --net does not answer")
    end
  end

  # Which says nothing of those that others make.
  @doc false
  @spec none_made(String.t()) :: outcome()
  def none_made(why) do
    # What clone(2) answers at these limits, namespaces(7).
    limit = if why =~ "No space left", do: "; a limit is reached, see user.max_net_namespaces"
    {:skipped, "none can be made to try it with: #{why}#{limit}"}
  end

  defp rest(port) do
    receive do
      {^port, {:data, text}} -> text <> rest(port)
      {^port, {:exit_status, _}} -> ""
    end
  end
end
