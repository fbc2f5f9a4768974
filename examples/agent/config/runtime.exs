import Config

# What differs from one machine to the next comes from the environment, everything else from config.exs.
# Only what is set is configured; `NetnsAgent.Config` has the defaults and checks every value.
from_env = fn key, variable, convert ->
  if value = System.get_env(variable), do: config(:netns_agent, [{key, convert.(value)}])
end

from_env.(:port, "NETNS_AGENT_PORT", &String.to_integer/1)
from_env.(:ip, "NETNS_AGENT_IP", & &1)
from_env.(:only, "NETNS_AGENT_ONLY", & &1)

from_env.(:nodes, "NETNS_AGENT_NODES", fn nodes ->
  nodes |> String.split(",", trim: true) |> Enum.map(&String.to_atom/1)
end)
