defmodule Bench.W14 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Contender, Dump, Measure, Namespaces, Requirement, Rounds}

  @namespaces 300
  @samples %{full: 3_000, quick: 600}

  @impl true
  def title, do: "one caller, the links of each of #{@namespaces} namespaces in turn"

  @impl true
  def run(size) do
    rows =
      Namespaces.with_links(@namespaces, fn paths ->
        Rounds.run(size, for(contender <- Dump.all(), do: measurement(contender, paths, size)))
      end)

    nlns = {"nlns", nil}
    otp = {nlns, {"otp", nil}}

    requirements = [
      Requirement.ratio(rows, "p50, nlns / otp", :p50, otp, {:at_most, 0.7}),
      Requirement.ratio(rows, "CPU, nlns / otp", :cpu, otp, {:at_most, 0.5}),
      Requirement.ratio(
        rows,
        "p50, nlns / in-place",
        :p50,
        {nlns, {"in-place", nil}},
        {:at_most, 1.4}
      )
    ]

    %{rows: rows, requirements: requirements, plot: :latency}
  end

  defp measurement(contender, paths, size) do
    arguments = Contender.arguments(contender, paths)
    measure = fn -> Measure.latencies(contender.open_close, arguments, @samples[size]) end
    {{contender.name, nil}, measure}
  end
end
