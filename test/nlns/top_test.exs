defmodule Nlns.TopTest do
  use ExUnit.Case, async: true

  alias Nlns.Top

  @wide {24, 100}

  test "shows the pool, its helpers and the rates between two looks" do
    before = info(opened: 100, failed: 10, entered: 0, helpers: [helper(1, served: 40)])

    now =
      info(
        opened: 350,
        exchanged: 10,
        failed: 10,
        refused: 5,
        entered: 1,
        waiting: 7,
        paths: 2,
        idle_timeout: :infinity,
        helpers: [
          helper(1, served: 240, state: :pinned, path: "/run/netns/blue", pinned_ms: 1_500),
          helper(2, served: 50, state: :serving, path: "/proc/17/ns/net", pinned_ms: 90_000)
        ]
      )

    assert text(before, now, 500, @wide) == """
           nlns on a@b  max_helpers 256, idle_timeout infinity, max_queue 10000
           helpers 2 (1 serving, 1 pinned), paths 2, waiting 7, started 1, died 0
           opened/s 500  exchanged/s 20  failed/s 0  refused/s 10  cancelled/s 0  entered/s 2

           STATE         ID   PINNED    SERVED  SERVED/S  PATH
           serving        2     90 s        50       100  /proc/17/ns/net
           pinned         1  1500 ms       240       400  /run/netns/blue
           """
  end

  test "with nothing to compare with there are no rates" do
    text = text(nil, info(opened: 5, helpers: [helper(1)]), 0, @wide)
    assert text =~ "opened/s -  exchanged/s -  failed/s -"
    assert text =~ ~r/^parked +1 +- +0 +-  -$/m
    # No time has passed.
    assert text(info([]), info(opened: 5), 0, @wide) =~ "opened/s -"
  end

  test "a pool that was started anew is not compared with the one before" do
    assert text(info(opened: 900), info(opened: 5), 1_000, @wide) =~ "opened/s -"
  end

  test "says so when the application is not started, and goes on when it is" do
    assert text(info([]), nil, 1_000, @wide) ==
             "nlns on a@b\nthe application :nlns is not started\n"

    assert text(nil, info(opened: 5), 1_000, @wide) =~ "opened/s -"
  end

  test "stuck helpers come first, then those at work, then the busiest" do
    before = info(helpers: for(id <- 1..5, do: helper(id, served: 10)))

    helpers = [
      helper(1, served: 20),
      helper(2, served: 10, state: :pinned),
      helper(3, served: 30, state: :pinned),
      helper(4, served: 11, state: :serving),
      helper(5, served: 10, state: :stuck)
    ]

    text = text(before, info(helpers: helpers), 1_000, @wide)
    assert text =~ "helpers 5 (1 stuck, 1 serving, 2 pinned, 1 parked)"

    assert Regex.scan(~r/^(?:stuck|serving|pinned|parked) +(\d)/m, text, capture: :all_but_first) ==
             [["5"], ["4"], ["3"], ["2"], ["1"]]
  end

  test "never takes more lines or columns than there are" do
    path = "/run/netns/" <> String.duplicate("ä", 200)
    helpers = for id <- 1..300, do: helper(id, path: path, state: :pinned, pinned_ms: 1)

    for rows <- [8, 24, 60], columns <- [1, 20, 80] do
      text = text(nil, info(helpers: helpers), 0, {rows, columns})
      lines = text |> String.split("\n") |> Enum.drop(-1)
      assert length(lines) <= rows
      assert List.last(lines) == String.slice("... and #{300 - (rows - 6)} more", 0, columns)
      for line <- lines, do: assert(String.length(line) <= columns)
    end
  end

  test "hostile names do nothing to the terminal" do
    helpers = [helper(1, path: "/run/netns/\e]0;owned\a", state: :pinned)]
    refute text(nil, info(helpers: helpers), 0, @wide) =~ "\e"
  end

  defp text(before, now, ms, screen) do
    :a@b |> Top.render(before, now, ms, screen) |> IO.iodata_to_binary()
  end

  defp info(changes) do
    Enum.into(changes, %{
      max_helpers: 256,
      idle_timeout: 1_000,
      max_queue: 10_000,
      helpers: [],
      paths: 0,
      waiting: 0,
      stuck: 0,
      opened: 0,
      exchanged: 0,
      failed: 0,
      refused: 0,
      cancelled: 0,
      entered: 0,
      started: 1,
      died: 0
    })
  end

  defp helper(id, changes \\ []) do
    Enum.into(changes, %{id: id, state: :parked, path: nil, pinned_ms: nil, served: 0})
  end
end
