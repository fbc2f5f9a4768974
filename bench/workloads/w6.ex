defmodule Bench.W6 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Contender, Measure, Namespaces, Requirement, Rounds}

  @samples %{full: 3_000, quick: 400}
  @unread 1_000_000

  @impl true
  def title, do: "W1 with 1,000,000 unread messages in the caller's mailbox"

  @impl true
  def run(size) do
    rows =
      Namespaces.with_new(1, fn paths ->
        Rounds.run(
          size,
          for contender <- [Contender.nlns(), Contender.throwaway()], unread <- [0, @unread] do
            measurement(contender, paths, unread, @samples[size])
          end
        )
      end)

    pair = {{"nlns", @unread}, {"nlns", 0}}

    requirements = [
      Requirement.ratio(rows, "p50, nlns / nlns with none", :p50, pair, {:at_most, 1.1})
    ]

    %{rows: rows, requirements: requirements, plot: nil}
  end

  defp measurement(contender, paths, unread, samples) do
    arguments = Contender.arguments(contender, paths)
    fill = fn -> for i <- 1..unread//1, do: send(self(), {:unread, i}) end
    measure = fn -> Measure.latencies(contender.open_close, arguments, samples, before: fill) end
    {{contender.name, unread}, measure}
  end
end
