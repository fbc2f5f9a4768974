defmodule Bench.Rounds do
  @moduledoc """
  Several rounds, and in each of them every measurement once, beginning with another one every time:
  what disturbs the machine for a while disturbs all contenders.
  """

  alias Bench.Stats

  @rounds %{full: 5, quick: 3}

  @doc """
  A row per measurement, `{{contender, at}, function}`: `at` is the number of callers or namespaces,
  or `nil`; the function answers `%{values: %{name => number}}` and perhaps a `:curve`.
  """
  def run(size, measurements), do: run_rounds(@rounds[size], measurements)

  @doc "The same with a number of rounds of its own, for what takes long."
  def run_rounds(rounds, measurements) do
    measured =
      for round <- 1..rounds do
        IO.write("  round #{round} of #{rounds} ")
        {last, first} = Enum.split(measurements, rem(round - 1, length(measurements)))

        results =
          for {key, measure} <- first ++ last, into: %{} do
            IO.write(".")
            {key, measure.()}
          end

        IO.write("\n")
        results
      end

    for {key, _} <- measurements, do: row(key, for(round <- measured, do: round[key]))
  end

  defp row({contender, at}, results) do
    curves = for %{curve: curve} <- results, do: curve

    %{
      contender: contender,
      at: at,
      rounds: for(result <- results, do: result.values),
      curve: Stats.median_curve(curves)
    }
  end
end
