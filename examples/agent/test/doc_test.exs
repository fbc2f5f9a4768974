defmodule NetnsAgent.DocTest do
  use NetnsAgent.Test.AgentCase, async: false

  doctest NetnsAgent.Config
  doctest NetnsAgent.Text

  describe "with an agent" do
    setup do: start_agent()
    doctest NetnsAgent
  end

  test "settings are checked when the agent starts" do
    for {setting, name} <- [
          {[prot: 1], "prot"},
          {[port: 70_000], "port"},
          {[only: "("], "only"},
          {[ip: "localhost"], "ip"},
          {[dirs: "x"], "dirs"},
          {[proc: ""], "proc"},
          {[hosts: [:x]], "hosts"},
          {[connections: 0], "connections"},
          {[nodes: ["x"]], "nodes"}
        ] do
      assert_raise ArgumentError, ~r/^config :netns_agent, #{name}: /, fn ->
        NetnsAgent.Config.new!(setting)
      end
    end
  end
end
