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
    for {key, _} <- env, not Keyword.has_key?(@defaults, key) do
      raise ArgumentError, "config :netns_agent, #{key}: no such key"
    end

    struct!(
      __MODULE__,
      for {key, value} <- Keyword.merge(@defaults, env) do
        case check(key, value) do
          {:ok, value} ->
            {key, value}

          true ->
            {key, value}

          _ ->
            raise ArgumentError, "config :netns_agent, #{key}: did not expect #{inspect(value)}"
        end
      end
    )
  end

  defp check(:proc, proc), do: is_nil(proc) or (is_binary(proc) and proc != "")

  defp check(key, list) when key in [:dirs, :hosts],
    do: list?(list, &(is_binary(&1) and &1 != ""))

  defp check(:nodes, nodes), do: list?(nodes, &is_atom/1)
  defp check(:only, only), do: is_nil(only) or (is_binary(only) && Regex.compile(only))
  defp check(:ip, ip), do: is_binary(ip) && :inet.parse_strict_address(String.to_charlist(ip))
  defp check(:port, n), do: is_integer(n) and n in 0..65_535
  defp check(_number, n), do: is_integer(n) and n > 0

  defp list?(list, fun), do: is_list(list) and Enum.all?(list, fun)
end
