defmodule NetnsAgent.Config do
  @moduledoc "The settings (`config :netns_agent, ...`), checked at the start. `README.md` says what each is."

  @defaults [
    dirs: ["/run/netns"],
    proc: "/proc",
    only: nil,
    max_namespaces: 4_096,
    discover_every: 1_000,
    scrape_every: 5_000,
    scrape_timeout: 2_000,
    concurrency: 32,
    max_interfaces: 256,
    ip: "127.0.0.1",
    port: 9464,
    hosts: [],
    connections: 64,
    check_timeout: 1_000,
    nodes: []
  ]

  defstruct @defaults

  @type t :: %__MODULE__{}

  @doc """
  Checks every key and value; raises `ArgumentError` for the first that is wrong.

      iex> NetnsAgent.Config.new!(port: 0, ip: "::1").ip
      {0, 0, 0, 0, 0, 0, 0, 1}

      iex> NetnsAgent.Config.new!(scrape_every: 0)
      ** (ArgumentError) config :netns_agent, scrape_every: did not expect 0
  """
  @spec new!(keyword()) :: t()
  def new!(env) do
    with [key | _] <- Keyword.keys(env) -- Keyword.keys(@defaults),
         do: raise(ArgumentError, "config :netns_agent, #{key}: no such key")

    settings = for {key, value} <- Keyword.merge(@defaults, env), do: {key, check(key, value)}
    struct!(__MODULE__, settings)
  end

  defp check(key, value) do
    case value?(key, value) do
      true -> value
      {:ok, made} -> made
      _ -> raise ArgumentError, "config :netns_agent, #{key}: did not expect #{inspect(value)}"
    end
  end

  defp value?(key, nil) when key in [:proc, :only], do: true
  defp value?(:proc, proc), do: is_binary(proc) and proc != ""
  defp value?(:dirs, dirs), do: is_list(dirs) and Enum.all?(dirs, &is_binary/1)
  defp value?(:hosts, hosts), do: is_list(hosts) and Enum.all?(hosts, &is_binary/1)
  defp value?(:nodes, nodes), do: is_list(nodes) and Enum.all?(nodes, &is_atom/1)
  defp value?(:only, only), do: is_binary(only) && Regex.compile(only)
  defp value?(:ip, ip), do: is_binary(ip) && :inet.parse_strict_address(to_charlist(ip))
  defp value?(:port, n), do: n in 0..65_535
  defp value?(_number, n), do: is_integer(n) and n > 0
end
