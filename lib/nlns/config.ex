defmodule Nlns.Config do
  @moduledoc false

  @enforce_keys [:max_helpers, :linger, :max_queue]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          max_helpers: pos_integer(),
          # nil: for ever
          linger: non_neg_integer() | nil,
          max_queue: pos_integer()
        }

  @defaults [max_helpers: 256, linger: 1_000, max_queue: 10_000]

  # The kernel's own bound for threads is 2^22 (pid_max, proc(5)).
  @max_helpers 4_194_304
  # About 49 days, as the VM's own timeouts.
  @max_linger 4_294_967_295
  @max_queue 1_000_000_000

  @doc "The application's environment, checked."
  @spec read!() :: t()
  def read!, do: :nlns |> Application.get_all_env() |> new!()

  @doc """
  Checks every key and value; raises `ArgumentError` for the first that is wrong.

      iex> Nlns.Config.new!(linger: :infinity)
      %Nlns.Config{max_helpers: 256, linger: nil, max_queue: 10_000}

      iex> Nlns.Config.new!(linger: -1)
      ** (ArgumentError) config :nlns, linger: expected :infinity or an integer from 0 to 4294967295 (ms), got: -1

      iex> Nlns.Config.new!(lingre: 5)
      ** (ArgumentError) config :nlns, lingre: no such key; there are :max_helpers, :linger, :max_queue
  """
  @spec new!(keyword()) :: t()
  def new!(env) do
    for {key, _} <- env, not Keyword.has_key?(@defaults, key) do
      keys = Enum.map_join(@defaults, ", ", fn {key, _} -> inspect(key) end)
      raise ArgumentError, "config :nlns, #{key}: no such key; there are #{keys}"
    end

    values = for {key, value} <- Keyword.merge(@defaults, env), do: {key, check!(key, value)}
    struct!(__MODULE__, values)
  end

  defp check!(:max_helpers, n) when is_integer(n) and n in 1..@max_helpers, do: n
  defp check!(:linger, :infinity), do: nil
  defp check!(:linger, ms) when is_integer(ms) and ms in 0..@max_linger, do: ms
  defp check!(:max_queue, n) when is_integer(n) and n in 1..@max_queue, do: n

  defp check!(key, value) do
    raise ArgumentError, "config :nlns, #{key}: expected #{range(key)}, got: #{inspect(value)}"
  end

  defp range(:max_helpers), do: "an integer from 1 to #{@max_helpers} (threads)"
  defp range(:linger), do: ":infinity or an integer from 0 to #{@max_linger} (ms)"
  defp range(:max_queue), do: "an integer from 1 to #{@max_queue} (requests per path)"
end
