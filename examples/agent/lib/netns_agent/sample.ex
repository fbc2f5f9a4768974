defmodule NetnsAgent.Sample do
  @moduledoc """
  What is known of one namespace after its last scrape.

    * `at` - when it was read (monotonic, ms), `took` - how long that took (µs)
    * `links` - its interfaces; after a failure, those of the last success
    * `more?` - whether it has more interfaces than the agent reads
    * `error` - `nil`, or why the last scrape failed; `failures` - how many have failed in a row
    * `cookie` - which namespace it was. Counters are compared only within one
    * `history` - bytes per second in both directions of all interfaces, newest first
    * `command` - the process that holds it, if it has no file
  """

  alias NetnsAgent.{Link, Scrape}

  @history 40

  defstruct at: nil,
            took: 0,
            links: [],
            more?: false,
            error: nil,
            failures: 0,
            cookie: nil,
            history: [],
            command: nil

  @type t :: %__MODULE__{
          at: integer(),
          took: non_neg_integer(),
          links: [Link.t()],
          more?: boolean(),
          error: nil | Scrape.error(),
          failures: non_neg_integer(),
          cookie: non_neg_integer() | nil,
          history: [float()],
          command: binary() | nil
        }

  @doc "The sample after this reading; `before` is the one it follows, if any."
  @spec read(t() | nil, Scrape.reading(), integer(), non_neg_integer()) :: t()
  def read(%__MODULE__{cookie: cookie} = before, %{cookie: cookie} = reading, at, took) do
    last = Map.new(before.links, &{&1.index, &1})
    links = Enum.map(reading.links, &Link.with_rates(&1, last[&1.index], at - before.at))
    sample = first(%{reading | links: links}, at, took)
    %{sample | history: Enum.take([traffic(links) | before.history], @history)}
  end

  def read(_before, reading, at, took), do: first(reading, at, took)

  @doc "The sample after a failure: what was known stays, without rates."
  @spec failed(t() | nil, Scrape.error(), integer(), non_neg_integer()) :: t()
  def failed(before, error, at, took) do
    before = before || %__MODULE__{at: at}
    links = Enum.map(before.links, &%{&1 | rates: %{}})
    %{before | links: links, took: took, error: error, failures: before.failures + 1}
  end

  defp first(reading, at, took) do
    %__MODULE__{
      at: at,
      took: took,
      links: reading.links,
      more?: reading.more?,
      cookie: reading.cookie,
      command: reading.command
    }
  end

  defp traffic(links) do
    for link <- links, key <- [:rx_bytes, :tx_bytes], reduce: 0.0 do
      sum -> sum + Map.get(link.rates, key, 0.0)
    end
  end
end
