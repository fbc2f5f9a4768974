defmodule Bench.W16 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Contender, Dump, Measure, Namespaces, Requirement, Rounds}

  @samples %{full: 3_000, quick: 600}

  @impl true
  def title, do: "one caller, the links of one namespace, warm"

  @impl true
  def run(size) do
    rows =
      Namespaces.with_links(1, fn paths ->
        Rounds.run(size, for(contender <- Dump.all(), do: measurement(contender, paths, size)))
      end)

    otp = {{"nlns", nil}, {"otp", nil}}

    requirements = [
      Requirement.ratio(rows, "p50, nlns / otp", :p50, otp, {:at_most, 0.5}),
      Requirement.ratio(rows, "CPU, nlns / otp", :cpu, otp, {:at_most, 0.4})
    ]

    %{rows: rows, requirements: requirements, plot: :latency}
  end

  defp measurement(contender, paths, size) do
    arguments = Contender.arguments(contender, paths)
    measure = fn -> Measure.latencies(contender.open_close, arguments, @samples[size]) end
    {{contender.name, nil}, measure}
  end
end
