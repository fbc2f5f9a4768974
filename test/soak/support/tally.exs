defmodule Nlns.Soak.Tally do
  @moduledoc false
  # How often everything happened, and what should not have.

  @table __MODULE__

  def new, do: :ets.new(@table, [:named_table, :public, write_concurrency: true])

  def count(what, by \\ 1), do: :ets.update_counter(@table, what, by, {what, 0})

  def counted(what) do
    case :ets.lookup(@table, what) do
      [{_, count}] -> count
      [] -> 0
    end
  end

  @doc "Everything that was counted, most frequent first."
  def all, do: @table |> :ets.tab2list() |> Enum.sort_by(fn {_, count} -> -count end)

  @doc "Something that must not be: said at once, and the run has failed."
  def violation(text) do
    if count(:violation) <= 20, do: IO.puts("VIOLATION: #{text}")
  end
end
