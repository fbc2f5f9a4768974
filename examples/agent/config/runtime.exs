import Config

# What differs from one machine to the next comes from the environment, everything else from config.exs.
# Only what is set is configured; `NetnsAgent.Config` has the defaults and checks every value.
from_env = fn key, variable, convert ->
  if value = System.get_env(variable), do: config(:netns_agent, [{key, convert.(value)}])
end

list = &String.split(&1, ",", trim: true)

from_env.(:port, "NETNS_AGENT_PORT", fn value ->
  with {port, ""} <- Integer.parse(value), do: port, else: (_ -> value)
end)

from_env.(:ip, "NETNS_AGENT_IP", & &1)
from_env.(:hosts, "NETNS_AGENT_HOSTS", list)
from_env.(:only, "NETNS_AGENT_ONLY", & &1)
from_env.(:dirs, "NETNS_AGENT_DIRS", list)
# Set to nothing, it does not look for processes.
from_env.(:proc, "NETNS_AGENT_PROC", &if(&1 != "", do: &1))
from_env.(:nodes, "NETNS_AGENT_NODES", &Enum.map(list.(&1), fn node -> String.to_atom(node) end))
