defmodule NetnsAgent.Sample do
  @moduledoc """
  What is known of one namespace after it was read: its interfaces (after a failure those of the last
  success), and with each counter what it grew by per second since the reading before (`rates`).
  """

  @counters ~w(rx_packets tx_packets rx_bytes tx_bytes rx_errors tx_errors rx_dropped tx_dropped)a

  @enforce_keys [:at]
  defstruct at: nil, links: [], more?: false, error: nil, failures: 0, command: nil

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
    * `error` - why the last reading failed, if it did; `failures` - how many have, in a row
    * `command` - the process that holds it, if it has no file
  """
  @type t :: %__MODULE__{
          at: integer(),
          links: [link()],
          more?: boolean(),
          error: nil | {atom(), String.t()},
          failures: non_neg_integer(),
          command: String.t() | nil
        }

  @doc "The names of the counters."
  @spec counters() :: [atom()]
  def counters, do: @counters

  @doc "The counters of `struct rtnl_link_stats64`, which begins with them."
  @spec counters(binary()) :: %{atom() => non_neg_integer()}
  def counters(stats),
    do:
      @counters |> Enum.zip(for <<n::native-64 <- binary_part(stats, 0, 64)>>, do: n) |> Map.new()

  @doc "The sample after a reading at `at`; `before` is the one it follows, if any."
  @spec next(t() | nil, reading(), integer()) :: t()
  def next(before, {:ok, links, more?}, at) do
    last = Map.new((before && before.links) || [], &{&1.index, &1})
    links = for link <- links, do: %{link | rates: rates(link, last[link.index], before, at)}
    %__MODULE__{at: at, links: links, more?: more?, command: before && before.command}
  end

  def next(before, {:error, error}, at) do
    before = before || %__MODULE__{at: at}
    links = for link <- before.links, do: %{link | rates: %{}}
    %{before | links: links, error: error, failures: before.failures + 1}
  end

  # A counter that went down was set to zero meanwhile, and has no rate.
  defp rates(link, last, before, at) when last != nil and at > before.at do
    for {counter, n} <- link.counters, n >= last.counters[counter], into: %{} do
      {counter, (n - last.counters[counter]) * 1_000 / (at - before.at)}
    end
  end

  defp rates(_link, _last, _before, _at), do: %{}
end
