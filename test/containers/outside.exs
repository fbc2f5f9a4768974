# One running container, seen from the machine it runs on: scripts/test-containers.
#
#     outside.exs PID STOP [PATH...]
#
# PID is one of its processes, each PATH a name of its network namespace, STOP a command that ends it.
# Inside there is one end, $LINK, of a pair of interfaces; the other end, $PEER, goes with the namespace.
alias Nlns.{Netns, Rtnetlink}

[pid, stop | paths] = System.argv()
[link, peer, agent] = for name <- ~w(LINK PEER AGENT), do: System.fetch_env!(name)
places = [{:pid, String.to_integer(pid)}, "/proc/#{pid}/ns/net" | paths]

# Only a namespace that has gone is left.
Application.put_env(:nlns, :idle_timeout, :infinity)
{:ok, _} = Application.ensure_all_started(:nlns)
{:ok, _} = Application.ensure_all_started(:inets)

eventually = fn what, condition ->
  Stream.repeatedly(fn -> condition.() || Process.sleep(20) == :never end)
  |> Stream.take(500)
  |> Enum.any?() || raise "not within ten seconds: #{what}"
end

# What the agent has found, by its name in the metrics.
followed? = fn name ->
  {:ok, {{_, 200, _}, _, metrics}} = :httpc.request(String.to_charlist(agent <> "/metrics"))
  to_string(metrics) =~ ~s(netns_agent_namespace_up{netns="#{name}"} 1)
end

# Files have names of their own; what only processes hold has the first one's number.
names = for "/run/netns/" <> name <- paths, do: name
name = List.first(names) || "pid:#{pid}"

for place <- places do
  {:ok, socket} = Nlns.open_socket(place, :netlink, :raw, 0)
  links = Rtnetlink.links(socket)
  :ok = :socket.close(socket)
  link in links or raise "#{inspect(place)} is elsewhere: #{inspect(links)}"
end

eventually.("a helper waits inside", fn ->
  Enum.any?(Nlns.info().helpers, &(&1.state == :pinned))
end)

eventually.("the agent follows #{name}", fn -> followed?.(name) end)
{_, 0} = System.cmd("sh", ["-c", stop], stderr_to_stdout: true)
eventually.("the namespace is gone", fn -> not Netns.host_link?(peer) end)
eventually.("the agent has let go of #{name}", fn -> not followed?.(name) end)

for place <- places do
  {:error, {:open, 2}} = Nlns.open_socket(place, :netlink, :raw, 0)
end
