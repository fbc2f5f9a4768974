defmodule Bench.Requirement do
  @moduledoc """
  A figure that must be reached. Ratios are taken within each round, where both sides saw the same
  machine; the median of them counts, the least and the greatest are shown.
  """

  alias Bench.Stats

  @doc "`{contender, at}`'s `name` in relation to another row's."
  def ratio(rows, text, name, {of, to}, limit) do
    pairs = Enum.zip(rounds(rows, of, name), rounds(rows, to, name))
    new(text, for({a, b} <- pairs, do: a / b), limit)
  end

  @doc "`{contender, at}`'s `name` itself."
  def absolute(rows, text, name, of, limit), do: new(text, rounds(rows, of, name), limit)

  defp rounds(rows, {contender, at}, name) do
    %{rounds: rounds} = Enum.find(rows, &(&1.contender == contender and &1.at == at))
    for values <- rounds, do: Map.fetch!(values, name)
  end

  defp new(text, values, {relation, limit}) do
    {median, least, greatest} = Stats.spread(values)

    met =
      case relation do
        :at_most -> median <= limit
        :at_least -> median >= limit
      end

    %{
      text: text,
      value: median,
      least: least,
      greatest: greatest,
      relation: relation,
      limit: limit,
      met: met
    }
  end
end
