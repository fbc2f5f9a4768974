defmodule Bench.W4 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Contender, Measure, Namespaces, Requirement, Rounds}

  @namespaces [1, 10, 100, 1000]
  @callers 64
  @ms %{full: 500, quick: 70}

  @impl true
  def title, do: "64 callers over many namespaces in turn"

  @impl true
  def run(size) do
    contenders = [Contender.nlns(), Contender.throwaway(), Contender.otp(), Contender.in_place()]

    rows =
      Namespaces.with_new(Enum.max(@namespaces), fn paths ->
        Rounds.run(
          size,
          for contender <- contenders, count <- @namespaces do
            measurement(contender, Enum.take(paths, count), size)
          end
        )
      end)

    requirements =
      for count <- [10, 100, 1000] do
        nlns = {"nlns", count}
        throwaway = {"throwaway", count}

        [
          Requirement.ratio(
            rows,
            "#{count}: rate, nlns / throwaway",
            :rate,
            {nlns, throwaway},
            {:at_least, 4}
          ),
          Requirement.ratio(
            rows,
            "#{count}: rate, nlns / nlns with one",
            :rate,
            {nlns, {"nlns", 1}},
            {:at_least, 0.75}
          )
        ]
      end

    %{rows: rows, requirements: List.flatten(requirements), plot: {:throughput, "namespaces"}}
  end

  defp measurement(contender, paths, size) do
    arguments = Contender.arguments(contender, paths)
    measure = fn -> Measure.throughput(contender.open_close, arguments, @callers, @ms[size]) end
    {{contender.name, length(paths)}, measure}
  end
end
