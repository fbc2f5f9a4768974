defmodule Nlns.Patience do
  @moduledoc """
  Limits of time for machines that are slower than those the tests were written on.

  `NLNS_TEST_PATIENCE` multiplies them (default: 1); `scripts/test-kernel` sets it for its emulated machines.

  They are limits of one step. A task of hundreds of steps is awaited without limit: each step has its own, and the
  test another.
  """

  # In ms. Far beyond what anything here takes on a busy machine; a test that gets here has failed.
  @patience 30_000

  @doc "The limit of `ms` milliseconds, as long as this machine needs it to be."
  @spec within(pos_integer()) :: pos_integer()
  def within(ms \\ @patience), do: ms * factor()

  defp factor, do: String.to_integer(System.get_env("NLNS_TEST_PATIENCE", "1"))
end
