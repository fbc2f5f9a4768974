defmodule NetnsAgent.Sample do
  @moduledoc """
  What is known of one namespace after it was read: its interfaces (after a failure those of the last
  success), and with each counter what it grew by per second since the reading before (`rates`).
  """

  @counters ~w(rx_packets tx_packets rx_bytes tx_bytes rx_errors tx_errors rx_dropped tx_dropped)a

  @enforce_keys [:at]
  defstruct [:at, :error, links: [], more?: false]

  @typedoc "An interface; `counters` as the kernel has them in IFLA_STATS64 (linux/if_link.h)."
  @type link :: %{
          index: pos_integer(),
          name: String.t(),
          up?: boolean(),
          counters: %{atom() => non_neg_integer()},
          rates: %{optional(atom()) => float()}
        }

  @typedoc "What reading gave; the error is one word for a metric's label and a sentence for people."
  @type reading :: {:ok, [link()], more? :: boolean()} | {:error, {atom(), String.t()}}

  @typedoc """
    * `at` - when it was read, monotonic, ms
    * `more?` - whether it has more interfaces than the agent reads
    * `error` - why the last reading failed, if it did
  """
  @type t :: %__MODULE__{at: integer(), links: [link()]}

  @doc "The names of the counters, in the order of `struct rtnl_link_stats64`, which begins with them."
  @spec counters() :: [atom()]
  def counters, do: @counters

  @doc "The sample after a reading at `at`; `before` is the one it follows, if any."
  @spec next(t() | nil, reading(), integer()) :: t()
  def next(nil, reading, at), do: next(%__MODULE__{at: at}, reading, at)

  def next(before, {:ok, links, more?}, at) do
    last = Map.new(before.links, &{&1.index, &1.counters})
    links = for link <- links, do: %{link | rates: rates(link, last[link.index], at - before.at)}
    %__MODULE__{at: at, links: links, more?: more?}
  end

  def next(before, {:error, error}, _at) do
    %{before | links: Enum.map(before.links, &%{&1 | rates: %{}}), error: error}
  end

  # A counter that went down was set to zero meanwhile, and has no rate.
  defp rates(link, last, ms) do
    for {name, n} <- link.counters, %{^name => before} when before <= n and ms > 0 <- [last] do
      {name, (n - before) * 1_000 / ms}
    end
    |> Map.new()
  end
end
