import Config

# The agent comes to each namespace once per round and has nothing to do there in between. So helpers
# do not wait inside (idle_timeout), and there are as many as the agent may keep busy at once: three lanes of
# `concurrency` exchanges, and `connections` checks.
config :nlns, idle_timeout: 0, max_helpers: 88
