defmodule Nlns.Config do
  @moduledoc false

  @enforce_keys [:max_helpers, :idle_timeout, :max_queue]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          max_helpers: pos_integer(),
          # nil: for ever
          idle_timeout: non_neg_integer() | nil,
          max_queue: pos_integer()
        }

  @defaults [max_helpers: 256, idle_timeout: 1_000, max_queue: 10_000]

  # The kernel's own bound for threads is 2^22 (pid_max, proc(5)).
  @max_helpers 4_194_304
  # About 49 days, as the VM's own timeouts.
  @max_idle_timeout 4_294_967_295
  @max_queue 1_000_000_000

  @doc "Reads the application's environment and checks it."
  @spec read!() :: t()
  def read!, do: :nlns |> Application.get_all_env() |> new!()

  @doc """
  Checks every key and value; raises `ArgumentError` for the first that is wrong.

      iex> Nlns.Config.new!(idle_timeout: :infinity)
      %Nlns.Config{max_helpers: 256, idle_timeout: nil, max_queue: 10_000}

      iex> Nlns.Config.new!(idle_timeout: -1)
      ** (ArgumentError) config :nlns, idle_timeout: expected :infinity or an integer from 0 to 4294967295 (ms), got: -1

      iex> Nlns.Config.new!(idle_timout: 5)
      ** (ArgumentError) config :nlns, idle_timout: no such key; there are :max_helpers, :idle_timeout, :max_queue

      iex> Nlns.Config.new!(linger: 1_000)
      ** (ArgumentError) config :nlns, linger: this key is now called :idle_timeout
  """
  @spec new!(keyword()) :: t()
  def new!(env) do
    if Keyword.has_key?(env, :linger) do
      raise ArgumentError, "config :nlns, linger: this key is now called :idle_timeout"
    end

    for {key, _} <- env, not Keyword.has_key?(@defaults, key) do
      keys = Enum.map_join(@defaults, ", ", fn {key, _} -> inspect(key) end)
      raise ArgumentError, "config :nlns, #{key}: no such key; there are #{keys}"
    end

    values = for {key, value} <- Keyword.merge(@defaults, env), do: {key, check!(key, value)}
    struct!(__MODULE__, values)
  end

  defp check!(:max_helpers, n) when is_integer(n) and n in 1..@max_helpers, do: n
  defp check!(:idle_timeout, :infinity), do: nil
  defp check!(:idle_timeout, ms) when is_integer(ms) and ms in 0..@max_idle_timeout, do: ms
  defp check!(:max_queue, n) when is_integer(n) and n in 1..@max_queue, do: n

  defp check!(key, value) do
    raise ArgumentError, "config :nlns, #{key}: expected #{range(key)}, got: #{inspect(value)}"
  end

  defp range(:max_helpers), do: "an integer from 1 to #{@max_helpers} (threads)"
  defp range(:idle_timeout), do: ":infinity or an integer from 0 to #{@max_idle_timeout} (ms)"
  defp range(:max_queue), do: "an integer from 1 to #{@max_queue} (requests per path)"
end
