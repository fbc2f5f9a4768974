defmodule Nlns.Top do
  @moduledoc false
  # A pool as text: what `Nlns.info/0` answered twice, and the time between, to lines for a terminal.

  @typedoc "`rows` bounds the helpers shown, `columns` the width of a line; `ansi?`: bold and colours."
  @type screen :: %{rows: pos_integer(), columns: pos_integer(), ansi?: boolean()}

  # Counters, and the word for each in the header.
  @rates [:opened, :failed, :refused, :cancelled, :entered]

  # Lines that are not helpers.
  @header 5

  @order %{stuck: 0, serving: 1, pinned: 2, parked: 3}

  @doc """
  The whole view. `before` is `nil` when there is nothing to compare with, and `now` is `nil` when
  the application is not started there.
  """
  @spec render(node(), map() | nil, map() | nil, non_neg_integer(), screen()) :: iodata()
  def render(node, _before, nil, _ms, screen) do
    lines([bold("nlns on #{node}", screen), "the application :nlns is not started"], screen)
  end

  def render(node, before, now, ms, screen) do
    # Another pool by now: its counters have begun anew.
    before = if before && before.started <= now.started && before.opened <= now.opened, do: before

    lines(
      [
        bold("nlns on #{node}", screen) <> "  " <> settings(now),
        summary(now, screen),
        rates(before, now, ms),
        "",
        bold("STATE         ID   PINNED    SERVED  SERVED/S  PATH", screen)
        | helpers(before, now, ms, screen)
      ],
      screen
    )
  end

  defp lines(lines, screen), do: Enum.map(lines, &[cut(&1, screen.columns), "\n"])

  defp settings(now) do
    idle_timeout =
      if now.idle_timeout == :infinity, do: "infinity", else: "#{now.idle_timeout} ms"

    "max_helpers #{now.max_helpers}, idle_timeout #{idle_timeout}, max_queue #{now.max_queue}"
  end

  defp summary(now, screen) do
    states = Enum.frequencies_by(now.helpers, & &1.state)

    each =
      for {state, _} <- Enum.sort_by(@order, &elem(&1, 1)), count = states[state] do
        colour("#{count} #{state}", state, screen)
      end

    "helpers #{length(now.helpers)}#{if each != [], do: " (#{Enum.join(each, ", ")})"}, " <>
      "paths #{now.paths}, waiting #{now.waiting}, started #{now.started}, died #{now.died}"
  end

  defp rates(before, now, ms) do
    Enum.map_join(@rates, "  ", &"#{&1}/s #{rate(before && Map.get(before, &1), now[&1], ms)}")
  end

  defp rate(before, now, ms) when is_integer(before) and ms > 0 and now >= before,
    do: to_string(round((now - before) * 1000 / ms))

  defp rate(_before, _now, _ms), do: "-"

  # Those first that somebody may have to do something about, then the busiest.
  defp helpers(before, now, ms, screen) do
    served =
      for helper <- (before && before.helpers) || [], into: %{}, do: {helper.id, helper.served}

    # One that has come since then had served nothing.
    new = if before, do: 0

    rows =
      for helper <- now.helpers do
        rate = rate(Map.get(served, helper.id, new), helper.served, ms)
        gain = helper.served - Map.get(served, helper.id, 0)
        {{@order[helper.state], -gain, helper.id}, helper, rate}
      end

    {shown, hidden} = rows |> Enum.sort() |> Enum.split(max(screen.rows - @header - 1, 1))
    shown = for {_order, helper, rate} <- shown, do: helper(helper, rate, screen)
    shown ++ if(hidden == [], do: [], else: ["... and #{length(hidden)} more"])
  end

  defp helper(helper, rate, screen) do
    [
      colour(String.pad_trailing(to_string(helper.state), 8), helper.state, screen),
      String.pad_leading(to_string(helper.id), 6),
      String.pad_leading(time(helper.pinned_ms), 7),
      String.pad_leading(to_string(helper.served), 8),
      String.pad_leading(rate, 8),
      path(helper.path)
    ]
    |> Enum.join("  ")
  end

  defp time(nil), do: "-"
  defp time(ms) when ms < 10_000, do: "#{ms} ms"
  defp time(ms) when ms < 600_000, do: "#{div(ms, 1_000)} s"
  defp time(ms) when ms < 36_000_000, do: "#{div(ms, 60_000)} min"
  defp time(ms), do: "#{div(ms, 3_600_000)} h"

  defp path(nil), do: "-"
  defp path({:pid, pid}), do: "{:pid, #{pid}}"
  defp path(path), do: Nlns.Printable.escape(path)

  defp bold(text, %{ansi?: true}), do: "\e[1m" <> text <> "\e[0m"
  defp bold(text, _screen), do: text

  defp colour(text, :stuck, %{ansi?: true}), do: "\e[31m" <> text <> "\e[0m"
  defp colour(text, :serving, %{ansi?: true}), do: "\e[32m" <> text <> "\e[0m"
  defp colour(text, _state, _screen), do: text

  # Sequences take no room on the screen, so they are not counted, and never cut.
  defp cut(text, columns) do
    ~r/\e\[[0-9;]*m/
    |> Regex.split(text, include_captures: true)
    |> Enum.map_reduce(columns, fn
      "\e" <> _ = sequence, left -> {sequence, left}
      part, left -> {String.slice(part, 0, left), max(left - String.length(part), 0)}
    end)
    |> elem(0)
  end
end
