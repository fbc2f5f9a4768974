Code.require_file("mix/compile_nlns_native.exs", __DIR__)

defmodule Nlns.MixProject do
  use Mix.Project

  @version "0.1.0"
  @source_url "https://github.com/nlns/nlns"

  def project do
    [
      app: :nlns,
      version: @version,
      elixir: "~> 1.14",
      compilers: [:nlns_native] ++ Mix.compilers(),
      elixirc_paths: elixirc_paths(Mix.env()),
      start_permanent: Mix.env() == :prod,
      deps: [],
      description: "Opens sockets inside other Linux network namespaces, off the schedulers",
      source_url: @source_url
    ]
  end

  def application do
    [mod: {Nlns.Application, []}, extra_applications: [:logger]]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_), do: ["lib"]
end
