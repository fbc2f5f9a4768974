defmodule Bench.W1 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Contender, Measure, Namespaces, Requirement, Rounds}

  @samples %{full: 5_000, quick: 600}

  @impl true
  def title, do: "one caller, one namespace, open and close, warm"

  @impl true
  def run(size) do
    rows =
      Namespaces.with_new(1, fn paths ->
        Rounds.run(
          size,
          for(contender <- Contender.all(), do: measurement(contender, paths, size))
        )
      end)

    nlns = {"nlns", nil}

    requirements = [
      Requirement.ratio(
        rows,
        "p50, nlns / throwaway",
        :p50,
        {nlns, {"throwaway", nil}},
        {:at_most, 0.30}
      ),
      Requirement.ratio(rows, "p50, nlns / floor", :p50, {nlns, {"floor", nil}}, {:at_most, 2.2})
    ]

    %{rows: rows, requirements: requirements, plot: :latency}
  end

  defp measurement(contender, paths, size) do
    arguments = Contender.arguments(contender, paths)
    measure = fn -> Measure.latencies(contender.open_close, arguments, @samples[size]) end
    {{contender.name, nil}, measure}
  end
end
