defmodule Bench.W2 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Contender, Measure, Namespaces, Requirement, Rounds}

  @callers %{full: [1, 4, 16, 64], quick: [1, 64]}
  @ms %{full: 400, quick: 60}

  @impl true
  def title, do: "many callers, one namespace"

  @impl true
  def run(size) do
    rows =
      Namespaces.with_new(1, fn paths ->
        Rounds.run(
          size,
          for contender <- Contender.all(), callers <- @callers[size] do
            measurement(contender, paths, callers, size)
          end
        )
      end)

    nlns = {"nlns", 64}

    requirements = [
      Requirement.ratio(
        rows,
        "rate, nlns / throwaway",
        :rate,
        {nlns, {"throwaway", 64}},
        {:at_least, 5.5}
      ),
      Requirement.ratio(
        rows,
        "rate, nlns / floor",
        :rate,
        {nlns, {"floor", 64}},
        {:at_least, 0.45}
      )
    ]

    %{rows: rows, requirements: requirements, plot: {:throughput, "callers"}}
  end

  defp measurement(contender, paths, callers, size) do
    arguments = Contender.arguments(contender, paths)
    measure = fn -> Measure.throughput(contender.open_close, arguments, callers, @ms[size]) end
    {{contender.name, callers}, measure}
  end
end
