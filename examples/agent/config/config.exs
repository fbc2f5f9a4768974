import Config

# The agent comes to each namespace once per round and has nothing to do there in between, so helpers do not
# wait inside.
config :nlns, idle_timeout: 0
