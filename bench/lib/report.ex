defmodule Bench.Report do
  @moduledoc "Tables in Markdown for the terminal and the README, and a JSON file per workload."

  alias Bench.{JSON, Machine, Stats}

  # Columns in this order, those that a workload has.
  @columns [
    p50: "p50 µs",
    p99: "p99 µs",
    p999: "p99.9 µs",
    mean: "mean µs",
    rate: "per second",
    sweep: "sweep ms",
    teardown: "teardown mean ms",
    rss: "RSS KiB",
    kernel_stack: "kernel stack KiB",
    idle_cpu: "idle CPU %",
    dirty: "dirty schedulers",
    open_p50: "open p50 µs",
    open_p99: "p99",
    take_p50: "take p50 µs",
    take_p99: "p99",
    close_fd_p50: "close_fd p50 µs",
    close_fd_p99: "p99",
    floor_p50: "(floor) p50 µs",
    floor_p99: "p99",
    cpu: "CPU µs"
  ]

  @doc "Where the files go; a quick run's must not be taken for figures."
  def directory(machine) do
    directory = Path.expand("../results", __DIR__)
    if machine.size == :quick, do: Path.join(directory, "quick"), else: directory
  end

  @doc "A workload's measurements, medians of the rounds with the least and the greatest."
  def rows(%{rows: rows}) do
    names = for row <- rows, values <- row.rounds, name <- Map.keys(values), uniq: true, do: name
    columns = for {name, title} <- @columns, name in names, do: {name, title}

    lines =
      for row <- rows do
        at = if row.at, do: " (#{row.at})"
        [row.contender <> to_string(at) | for({name, _} <- columns, do: cell(row.rounds, name))]
      end

    table([["contender" | Keyword.values(columns)] | lines])
  end

  defp cell(rounds, name) do
    case for %{^name => value} <- rounds, do: value do
      [] -> ""
      values -> values |> Stats.spread() |> spread()
    end
  end

  @doc "What must be reached, and whether it is."
  def requirements(results) do
    lines =
      for result <- results, requirement <- result.requirements do
        limit = "#{relation(requirement.relation)} #{number(requirement.limit)}"
        value = spread({requirement.value, requirement.least, requirement.greatest})
        verdict = if requirement.met, do: "met", else: "not met"
        [String.upcase(result.id), requirement.text, value, limit, verdict]
      end

    table([["", "figure", "measured", "target", ""] | lines])
  end

  def write_json(result, machine) do
    json = result |> Map.delete(:plot) |> Map.put(:machine, machine) |> JSON.encode()
    write!(Path.join(directory(machine), result.id <> ".json"), json)
  end

  def write_tables(results, machine) do
    details = for result <- results, do: ["\n## ", heading(result), "\n\n", rows(result)]
    head = [Machine.summary(machine), "\n\n", requirements(results)]
    write!(Path.join(directory(machine), "tables.md"), [head | details])
  end

  defp heading(result), do: "#{String.upcase(result.id)}: #{result.title}"

  # Whole or not at all.
  defp write!(path, content) do
    File.mkdir_p!(Path.dirname(path))
    File.write!(path <> ".tmp", content)
    File.rename!(path <> ".tmp", path)
  end

  defp relation(:at_most), do: "≤"
  defp relation(:at_least), do: "≥"

  defp spread({median, least, greatest}),
    do: "#{number(median)} (#{number(least)} to #{number(greatest)})"

  defp number(n) when n == 0, do: "0"
  defp number(n) when abs(n) >= 100, do: Integer.to_string(round(n))
  defp number(n) when abs(n) >= 10, do: :erlang.float_to_binary(n / 1, decimals: 1)
  defp number(n) when abs(n) >= 0.01, do: :erlang.float_to_binary(n / 1, decimals: 2)
  defp number(n), do: :erlang.float_to_binary(n / 1, decimals: 4)

  defp table([head | lines] = all) do
    widths =
      for column <- Enum.zip(all),
          do: column |> Tuple.to_list() |> Enum.map(&String.length/1) |> Enum.max()

    rule = for width <- widths, do: String.duplicate("-", width)
    Enum.map([head, rule | lines], &[line(&1, widths), "\n"])
  end

  defp line(cells, widths) do
    cells = for {cell, width} <- Enum.zip(cells, widths), do: String.pad_trailing(cell, width)
    ["| ", Enum.intersperse(cells, " | "), " |"]
  end
end
