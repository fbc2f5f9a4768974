defmodule Bench.W11 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Contender, Measure, Namespaces, Requirement, Rounds}

  @samples %{full: 1_000, quick: 60}

  @impl true
  def title, do: "W1 while every scheduler is kept busy by other processes"

  @impl true
  def run(size) do
    rows =
      Namespaces.with_new(1, fn paths ->
        busily(fn ->
          Rounds.run(
            size,
            for(contender <- Contender.all(), do: measurement(contender, paths, size))
          )
        end)
      end)

    nlns = {"nlns", nil}

    requirements = [
      Requirement.ratio(
        rows,
        "mean, nlns / throwaway",
        :mean,
        {nlns, {"throwaway", nil}},
        {:at_most, 0.3}
      ),
      Requirement.ratio(rows, "mean, nlns / otp", :mean, {nlns, {"otp", nil}}, {:at_most, 0.5})
    ]

    %{rows: rows, requirements: requirements, plot: :latency}
  end

  defp measurement(contender, paths, size) do
    arguments = Contender.arguments(contender, paths)

    measure = fn ->
      measured = Measure.latencies(contender.open_close, arguments, @samples[size], warm_up: 5)
      # The CPU time is the spinning processes'.
      update_in(measured.values, &Map.delete(&1, :cpu))
    end

    {{contender.name, nil}, measure}
  end

  # One spinning process on each scheduler, bound to it, so that balancing leaves none idle.
  defp busily(fun) do
    spinners =
      for scheduler <- 1..:erlang.system_info(:schedulers_online) do
        :erlang.spawn_opt(&spin/0, [:link, {:scheduler, scheduler}])
      end

    try do
      fun.()
    after
      for spinner <- spinners do
        Process.unlink(spinner)
        Process.exit(spinner, :kill)
      end
    end
  end

  defp spin, do: spin()
end
