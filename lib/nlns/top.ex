defmodule Nlns.Top do
  @moduledoc false
  # Formats a pool as lines for a terminal, from two answers of `Nlns.info/0` and the time between them.

  # Counters, and the word for each in the header.
  @rates [:opened, :exchanged, :failed, :refused, :cancelled, :entered]

  # Lines that are not helpers.
  @header 6

  @order %{stuck: 0, serving: 1, pinned: 2, parked: 3}

  @typedoc "How many lines a view may have, and how wide one may be."
  @type screen :: {rows :: pos_integer(), columns :: pos_integer()}

  @doc """
  Renders the whole view. `before` is `nil` when there is nothing to compare with, and `now` is `nil` when
  the application is not started there.
  """
  @spec render(node(), map() | nil, map() | nil, non_neg_integer(), screen()) :: iodata()
  def render(node, _before, nil, _ms, screen),
    do: lines(["nlns on #{node}", "the application :nlns is not started"], screen)

  def render(node, before, now, ms, screen) do
    # The pool was started again, so its counters are new.
    before = if before && before.started <= now.started && before.opened <= now.opened, do: before
    states = Enum.frequencies_by(now.helpers, & &1.state)

    states =
      for {state, _} <- Enum.sort_by(@order, &elem(&1, 1)), n = states[state], do: "#{n} #{state}"

    lines(
      [
        "nlns on #{node}  max_helpers #{now.max_helpers}, idle_timeout #{now.idle_timeout}, " <>
          "max_queue #{now.max_queue}",
        "helpers #{length(now.helpers)} (#{Enum.join(states, ", ")}), paths #{now.paths}, " <>
          "waiting #{now.waiting}, started #{now.started}, died #{now.died}",
        Enum.map_join(@rates, "  ", &"#{&1}/s #{rate(before && before[&1], now[&1], ms)}"),
        "",
        row(["STATE", "ID", "PINNED", "SERVED", "SERVED/S", "PATH"])
        | helpers(before, now, ms, screen)
      ],
      screen
    )
  end

  defp lines(lines, {_rows, columns}), do: Enum.map(lines, &[String.slice(&1, 0, columns), "\n"])

  # Stuck helpers come first, then the busiest.
  defp helpers(before, now, ms, {rows, _columns}) do
    served =
      for helper <- (before && before.helpers) || [], into: %{}, do: {helper.id, helper.served}

    # A helper that is new since then had served nothing.
    earlier = &(before && Map.get(served, &1.id, 0))

    {shown, hidden} =
      now.helpers
      |> Enum.sort_by(&{@order[&1.state], (earlier.(&1) || 0) - &1.served, &1.id})
      |> Enum.split(max(rows - @header, 1))

    lines =
      for helper <- shown do
        rate = rate(earlier.(helper), helper.served, ms)

        row([
          helper.state,
          helper.id,
          time(helper.pinned_ms),
          helper.served,
          rate,
          path(helper.path)
        ])
      end

    if hidden == [], do: lines, else: lines ++ ["... and #{length(hidden)} more"]
  end

  defp row([state | rest]) do
    {numbers, [path]} = Enum.split(rest, -1)

    columns =
      for {text, width} <- Enum.zip(numbers, [6, 7, 8, 8]),
          do: String.pad_leading("#{text}", width)

    Enum.join([String.pad_trailing("#{state}", 8) | columns] ++ [path], "  ")
  end

  defp rate(before, now, ms) when is_integer(before) and ms > 0 and now >= before,
    do: round((now - before) * 1000 / ms)

  defp rate(_before, _now, _ms), do: "-"

  defp time(nil), do: "-"
  defp time(ms) when ms < 10_000, do: "#{ms} ms"
  defp time(ms) when ms < 600_000, do: "#{div(ms, 1_000)} s"
  defp time(ms), do: "#{div(ms, 60_000)} min"

  defp path(nil), do: "-"
  defp path({:pid, pid}), do: "{:pid, #{pid}}"
  defp path(path), do: Nlns.Printable.escape(path)
end
