defmodule NetnsAgent.MixProject do
  use Mix.Project

  def project do
    [
      app: :netns_agent,
      version: "0.1.0",
      elixir: "~> 1.14",
      start_permanent: Mix.env() == :prod,
      elixirc_paths: if(Mix.env() == :test, do: ["lib", "test/support"], else: ["lib"]),
      # Each test starts the agent with the settings it needs.
      aliases: [test: "test --no-start"],
      deps: [{:nlns, path: "../.."}]
    ]
  end

  def application do
    [mod: {NetnsAgent.Application, []}, extra_applications: [:logger, :crypto]]
  end
end
