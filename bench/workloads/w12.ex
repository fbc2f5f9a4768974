defmodule Bench.W12 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Contender, Measure, Namespaces, Requirement, Rounds}

  @samples %{full: 200, quick: 40}
  @namespaces 100
  @pause 5

  @impl true
  def title,
    do: "one open every #{@pause} ms, over #{@namespaces} namespaces in turn, idle in between"

  @impl true
  def run(size) do
    contenders = Contender.all() -- [Contender.otp_unregistered()]

    rows =
      Namespaces.with_new(@namespaces, fn paths ->
        Rounds.run(size, for(contender <- contenders, do: measurement(contender, paths, size)))
      end)

    pair = {{"nlns", nil}, {"throwaway", nil}}

    requirements = [
      Requirement.ratio(rows, "p50, nlns / throwaway", :p50, pair, {:at_most, 1}),
      Requirement.ratio(rows, "CPU, nlns / throwaway", :cpu, pair, {:at_most, 1})
    ]

    %{rows: rows, requirements: requirements, plot: :latency}
  end

  defp measurement(contender, paths, size) do
    arguments = Contender.arguments(contender, paths)
    options = [pause: @pause, warm_up: 2]

    measure = fn ->
      Measure.latencies(contender.open_close, arguments, @samples[size], options)
    end

    {{contender.name, nil}, measure}
  end
end
