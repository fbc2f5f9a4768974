defmodule Bench.W5 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Contender, Measure, Namespaces, Requirement, Rounds}

  @fresh %{full: 1000, quick: 60}
  # The kernel takes namespaces down in the background.
  @settle 150

  @impl true
  def title, do: "one caller, the first open ever of a namespace"

  @impl true
  def run(size) do
    contenders = [Contender.nlns(), Contender.throwaway(), Contender.otp(), Contender.in_place()]

    rows =
      Rounds.run(size, for(contender <- contenders, do: measurement(contender, @fresh[size])))

    requirements = [
      Requirement.ratio(
        rows,
        "p50, nlns / throwaway",
        :p50,
        {{"nlns", nil}, {"throwaway", nil}},
        {:at_most, 0.6}
      )
    ]

    %{rows: rows, requirements: requirements, plot: :latency}
  end

  defp measurement(contender, fresh) do
    measure = fn ->
      measured =
        Namespaces.with_new(fresh, fn paths ->
          Process.sleep(@settle)
          arguments = Contender.arguments(contender, paths)
          Measure.latencies(contender.open_close, arguments, fresh, warm_up: 0)
        end)

      Process.sleep(@settle)
      measured
    end

    {{contender.name, nil}, measure}
  end
end
