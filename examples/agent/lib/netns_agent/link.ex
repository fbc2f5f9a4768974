defmodule NetnsAgent.Link do
  @moduledoc """
  An interface and its counters, as the kernel has them in IFLA_STATS64 (linux/if_link.h), and what
  they grew by per second since the sample before (`rates`, empty if there is none to compare with).
  """

  @counters ~w(rx_packets tx_packets rx_bytes tx_bytes rx_errors tx_errors rx_dropped tx_dropped)a

  @enforce_keys [:index, :name, :up?, :counters]
  defstruct [:index, :name, :up?, :counters, rates: %{}]

  @type counter ::
          :rx_packets
          | :tx_packets
          | :rx_bytes
          | :tx_bytes
          | :rx_errors
          | :tx_errors
          | :rx_dropped
          | :tx_dropped

  @type t :: %__MODULE__{
          index: pos_integer(),
          name: binary(),
          up?: boolean(),
          counters: %{counter() => non_neg_integer()},
          rates: %{optional(counter()) => float()}
        }

  @doc "The counters in the order of `struct rtnl_link_stats64`, which begins with them."
  @spec counters() :: [counter()]
  def counters, do: @counters

  @doc """
  The link with its rates, `ms` after `before`. A counter that went down was set to zero meanwhile,
  and has no rate.
  """
  @spec with_rates(t(), t() | nil, integer()) :: t()
  def with_rates(%__MODULE__{index: index} = link, %__MODULE__{index: index} = before, ms)
      when ms > 0 do
    rates =
      for {counter, n} <- link.counters, n >= before.counters[counter], into: %{} do
        {counter, (n - before.counters[counter]) * 1_000 / ms}
      end

    %{link | rates: rates}
  end

  def with_rates(link, _before, _ms), do: link
end
