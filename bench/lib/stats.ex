defmodule Bench.Stats do
  @moduledoc "Quantiles, medians and spreads."

  # Where latency curves are drawn: every percent, then every tenth of one.
  @levels Enum.map(0..98, &(&1 / 100)) ++ Enum.map(0..9, &(0.99 + &1 / 1000))

  @doc """
  p50, p99, p99.9 and mean of times in ns, in µs; and the curve through all of them.

  A quantile that would be the greatest of too few samples, p99.9 of 500, is left out.
  """
  @spec latencies([non_neg_integer()]) :: {values :: map(), curve :: [{float(), float()}]}
  def latencies(times) do
    sorted = times |> Enum.sort() |> List.to_tuple()
    known = fn level -> (1 - level) * tuple_size(sorted) > 0.999 end

    values =
      for {name, level} <- [p50: 0.5, p99: 0.99, p999: 0.999], known.(level), into: %{} do
        {name, quantile(sorted, level)}
      end

    curve = for level <- @levels, known.(level), do: {level, quantile(sorted, level)}
    {Map.put(values, :mean, Enum.sum(times) / length(times) / 1000), curve}
  end

  # By nearest rank.
  defp quantile(sorted, level) do
    rank = ceil(level * tuple_size(sorted))
    elem(sorted, max(rank, 1) - 1) / 1000
  end

  @spec median([number()]) :: number()
  def median(numbers) do
    sorted = Enum.sort(numbers)
    n = length(sorted)

    if rem(n, 2) == 1,
      do: Enum.at(sorted, div(n, 2)),
      else: (Enum.at(sorted, div(n, 2) - 1) + Enum.at(sorted, div(n, 2))) / 2
  end

  @doc "Median, least and greatest."
  @spec spread([number()]) :: {number(), number(), number()}
  def spread(numbers), do: {median(numbers), Enum.min(numbers), Enum.max(numbers)}

  @doc "The median of several rounds' curves, point by point."
  def median_curve(curves) do
    curves
    |> Enum.zip()
    |> Enum.map(fn points ->
      points = Tuple.to_list(points)
      {level, _} = hd(points)
      {level, median(for {_, value} <- points, do: value)}
    end)
  end
end
