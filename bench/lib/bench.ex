defmodule Bench do
  @moduledoc "Runs the workloads that were asked for, and reports."

  alias Bench.{Machine, Plot, Report}

  @workloads [
    Bench.W1,
    Bench.W2,
    Bench.W3,
    Bench.W4,
    Bench.W5,
    Bench.W6,
    Bench.W7,
    Bench.W8,
    Bench.W9,
    Bench.W10,
    Bench.W11,
    Bench.W12,
    Bench.W13,
    Bench.W14,
    Bench.W15,
    Bench.W16,
    Bench.W17
  ]

  @type size :: :full | :quick

  @spec main([String.t()]) :: :ok
  def main(argv) do
    size = if System.get_env("QUICK") in [nil, "", "0"], do: :full, else: :quick
    workloads = choose!(argv)
    machine = Machine.describe(size)
    IO.puts(Machine.summary(machine))

    results = for {id, module} <- workloads, do: run(id, module, size, machine)
    IO.puts(["\n", Report.requirements(results)])
    # A part of the workloads must not pass for the whole.
    if length(workloads) == length(@workloads), do: Report.write_tables(results, machine)
  end

  defp run(id, module, size, machine) do
    start = System.monotonic_time(:millisecond)
    IO.puts("\n#{String.upcase(id)}: #{module.title()}")
    result = Map.merge(module.run(size), %{id: id, title: module.title()})
    seconds = (System.monotonic_time(:millisecond) - start) / 1000
    IO.puts(["\n", Report.rows(result), "  #{Float.round(seconds, 1)} s"])
    Report.write_json(result, machine)
    Plot.draw(result, Report.directory(machine))
    result
  end

  defp choose!(argv) do
    all = for module <- @workloads, do: {id(module), module}

    case for argument <- argv, do: String.downcase(argument) do
      [] ->
        all

      ids ->
        unknown = ids -- for({id, _} <- all, do: id)

        unknown == [] ||
          raise(ArgumentError, "no workload #{inspect(unknown)}; there are w1 to #{id_last()}")

        Enum.filter(all, fn {id, _} -> id in ids end)
    end
  end

  defp id_last, do: @workloads |> List.last() |> id()
  defp id(module), do: module |> Module.split() |> List.last() |> String.downcase()
end
