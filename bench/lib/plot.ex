defmodule Bench.Plot do
  @moduledoc "Plots in SVG, drawn by gnuplot from the rows of a result."

  alias Bench.Stats

  @colours %{
    "nlns" => "#d62728",
    "nlns, 64 callers" => "#ff9896",
    "open_socket" => "#ff7f0e",
    "throwaway" => "#1f77b4",
    "otp" => "#2ca02c",
    "otp, no registry" => "#98df8a",
    "in-place" => "#9467bd",
    "floor" => "#7f7f7f"
  }

  @doc "Draws `ID.svg` into the directory, if the workload has something to draw and gnuplot is there."
  def draw(%{plot: nil}, _directory), do: :ok

  def draw(result, directory) do
    if System.find_executable("gnuplot") do
      path = Path.join(directory, result.id)
      File.write!(path <> ".gnuplot.tmp", script(result, path <> ".svg"))
      {output, status} = System.cmd("gnuplot", [path <> ".gnuplot.tmp"], stderr_to_stdout: true)
      File.rm!(path <> ".gnuplot.tmp")
      if status != 0, do: raise("gnuplot failed: #{output}")
      :ok
    else
      IO.puts("no plot: there is no gnuplot (Debian: apt-get install gnuplot-nox)")
    end
  end

  defp script(result, svg) do
    series = series(result)

    [
      "set terminal svg size 760,460 background rgb 'white' font 'sans-serif,13'\n",
      "set output '#{svg}'\nset encoding utf8\nset grid\n",
      "set title \"#{String.upcase(result.id)}: #{result.title}\" noenhanced\n",
      for {{_, points}, i} <- Enum.with_index(series) do
        ["$s#{i} << END\n", for(point <- points, do: [Enum.join(point, " "), "\n"]), "END\n"]
      end,
      axes(result.plot),
      xtics(result),
      "plot ",
      series
      |> Enum.with_index()
      |> Enum.map_intersperse(", ", fn {{name, _}, i} -> curve(result.plot, name, i) end),
      "\n"
    ]
  end

  defp series(%{plot: :latency, rows: rows}) do
    for row <- rows, row.curve != [] do
      {label(row), for({level, value} <- row.curve, do: [nines(level), value])}
    end
  end

  defp series(%{plot: {:throughput, _}, rows: rows}) do
    for {name, rows} <- rows |> Enum.filter(& &1.at) |> grouped() do
      points =
        for row <- rows do
          {median, least, greatest} = Stats.spread(for values <- row.rounds, do: values.rate)
          [row.at, median, least, greatest]
        end

      {name, points}
    end
  end

  # As Enum.group_by/2, in the order of the rows.
  defp grouped(rows) do
    for name <- rows |> Enum.map(& &1.contender) |> Enum.uniq() do
      {name, Enum.filter(rows, &(&1.contender == name))}
    end
  end

  defp label(%{contender: name, at: nil}), do: name
  defp label(%{contender: name, at: at}), do: "#{name} (#{at})"

  # The scale on which 90, 99 and 99.9 % are equally far apart.
  defp nines(level), do: -:math.log10(1 - level)

  defp axes(:latency) do
    """
    set key top left
    set logscale y
    set ylabel "µs"
    set xlabel "share of opens that took no longer"
    set xrange [0:3]
    set xtics ("0" 0, "50 %%" 0.30103, "90 %%" 1, "99 %%" 2, "99.9 %%" 3)
    """
  end

  defp axes({:throughput, at}) do
    """
    set key outside right
    set logscale x
    set xlabel "#{at}"
    set ylabel "opens per second, closing included"
    set yrange [0:*]
    set format y "%.0s %c"
    set offsets graph 0.05, graph 0.05, 0, 0
    """
  end

  defp xtics(%{plot: :latency}), do: ""

  defp xtics(%{rows: rows}) do
    ats = for %{at: at} <- rows, at, uniq: true, do: at
    ["set xtics (", Enum.join(ats, ", "), ")\n"]
  end

  defp curve(:latency, name, i), do: "$s#{i} using 1:2 with lines #{style(name)}"

  defp curve({:throughput, _}, name, i) do
    "$s#{i} using 1:2:3:4 with yerrorlines pt 7 ps 0.5 #{style(name)}"
  end

  defp style(name) do
    width = if String.starts_with?(name, "nlns"), do: 3, else: 1.5
    colour = if hex = @colours[name], do: "lc rgb '#{hex}'"
    "lw #{width} #{colour} title \"#{name}\" noenhanced"
  end
end
