Code.require_file("mix/compile_nlns_native.exs", __DIR__)

defmodule Nlns.MixProject do
  use Mix.Project

  @version "0.1.0"
  @source_url "https://github.com/nlns/nlns"

  # In the order in which one reads them.
  @guides ~w(namespaces genserver netlink building containers operations guarantees closing how-it-works faults migrating)

  def project do
    [
      app: :nlns,
      version: @version,
      elixir: "~> 1.14",
      compilers: [:nlns_native] ++ Mix.compilers(),
      elixirc_paths: elixirc_paths(Mix.env()),
      start_permanent: Mix.env() == :prod,
      deps: [],
      description:
        "Netlink requests and sockets inside other Linux network namespaces, off the schedulers",
      source_url: @source_url,
      package: package(),
      docs: docs()
    ]
  end

  def application do
    [mod: {Nlns.Application, []}, extra_applications: [:logger]]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_), do: ["lib"]

  # For `mix hex.build`. All of the Cargo workspace: cargo refuses one that lacks a member.
  defp package do
    [
      licenses: ["Apache-2.0"],
      links: %{
        "GitHub" => @source_url,
        "Changelog" => "#{@source_url}/blob/main/CHANGELOG.md"
      },
      # The last for libraries built beforehand, where there are some.
      files:
        ~w(lib mix mix.exs .formatter.exs .cargo Cargo.toml Cargo.lock native guides) ++
          ~w(README.md CHANGELOG.md LICENSE) ++ Path.wildcard("checksum-*.exs"),
      exclude_patterns: [~r"/target/", ~r"\.so$"]
    ]
  end

  # For `mix docs`, where ExDoc is a dependency or an archive.
  defp docs do
    [
      # The README is this module's documentation, so it is no page of its own.
      main: "Nlns",
      source_ref: "v#{@version}",
      extras: Enum.map(@guides, &"guides/#{&1}.md") ++ ["CHANGELOG.md"],
      groups_for_extras: [Guides: ~r"^guides/"],
      groups_for_modules: [
        Netlink: [
          Nlns.Netlink,
          Nlns.Netlink.Message,
          Nlns.Netlink.Attribute,
          Nlns.Netlink.Ack,
          Nlns.Netlink.DecodeError
        ],
        "Running it": [Nlns.Doctor, Nlns.Telemetry]
      ],
      groups_for_docs:
        for group <- [
              :"Sockets of every family",
              :Requests,
              :"Netlink descriptors",
              :"The pool"
            ] do
          {group, &(to_string(&1[:group]) == to_string(group))}
        end
    ]
  end
end
