defmodule NetnsAgent.Config do
  @moduledoc """
  The settings (`config :netns_agent, ...`), checked once when the agent starts.

  Finding namespaces:

    * `dirs` - directories of namespace files; default `["/run/netns"]`
    * `proc` - where procfs is, for namespaces that only processes hold; `nil` does not look; default `"/proc"`
    * `only` - a regular expression as a string: follow only namespaces whose id matches; default `nil`, all
    * `max_namespaces` - how many are followed at most; default 4,096
    * `discover_every` - ms between two looks; default 1,000

  Reading them:

    * `scrape_every` - ms between two rounds; default 5,000
    * `scrape_timeout` - ms one namespace may take; default 2,000
    * `concurrency` - namespaces read at once, in each of three lanes; default 8
    * `max_interfaces` - interfaces read per namespace at most; default 256

  Serving it:

    * `ip` - the address to listen on, as a string; default `"127.0.0.1"`. Whoever reaches it can make the agent
      connect to any port in any namespace (`/check`), so think before opening it to others
    * `port` - 0 lets the kernel choose; default 9464
    * `connections` - requests served at once; default 16
    * `check_timeout` - ms that `/check` waits at most; default 1,000
    * `nodes` - the other machines' node names, to connect to and ask; default `[]`
  """

  @defaults [
    dirs: ["/run/netns"],
    proc: "/proc",
    only: nil,
    max_namespaces: 4_096,
    discover_every: 1_000,
    scrape_every: 5_000,
    scrape_timeout: 2_000,
    concurrency: 8,
    max_interfaces: 256,
    ip: "127.0.0.1",
    port: 9464,
    connections: 16,
    check_timeout: 1_000,
    nodes: []
  ]

  defstruct @defaults

  @type t :: %__MODULE__{}

  @positive ~w(max_namespaces discover_every scrape_every scrape_timeout concurrency max_interfaces
               connections check_timeout)a

  @doc "The application's environment, checked."
  @spec read!() :: t()
  def read!, do: :netns_agent |> Application.get_all_env() |> new!()

  @doc """
  Checks every key and value; raises `ArgumentError` for the first that is wrong.

      iex> NetnsAgent.Config.new!(port: 0, ip: "::1").ip
      {0, 0, 0, 0, 0, 0, 0, 1}

      iex> NetnsAgent.Config.new!(scrape_every: 0)
      ** (ArgumentError) config :netns_agent, scrape_every: did not expect 0
  """
  @spec new!(keyword()) :: t()
  def new!(env) do
    for {key, _} <- env, not Keyword.has_key?(@defaults, key) do
      raise ArgumentError, "config :netns_agent, #{key}: no such key"
    end

    values = for {key, value} <- Keyword.merge(@defaults, env), do: {key, check!(key, value)}
    struct!(__MODULE__, values)
  end

  defp check!(key, value) do
    case check(key, value) do
      {:ok, value} ->
        value

      _ ->
        raise ArgumentError, "config :netns_agent, #{key}: did not expect #{inspect(value)}"
    end
  end

  defp check(key, n) when key in @positive, do: if(is_integer(n) and n > 0, do: {:ok, n})
  defp check(:port, n), do: if(is_integer(n) and n in 0..65_535, do: {:ok, n})
  defp check(:proc, proc), do: if(is_nil(proc) or is_binary(proc), do: {:ok, proc})
  defp check(:dirs, dirs), do: if(all?(dirs, &is_binary/1), do: {:ok, dirs})
  defp check(:nodes, nodes), do: if(all?(nodes, &is_atom/1), do: {:ok, nodes})
  defp check(:only, nil), do: {:ok, nil}
  defp check(:only, only), do: if(is_binary(only), do: Regex.compile(only))

  defp check(:ip, ip) do
    if is_binary(ip), do: ip |> String.to_charlist() |> :inet.parse_strict_address()
  end

  defp all?(list, fun), do: is_list(list) and Enum.all?(list, fun)
end
