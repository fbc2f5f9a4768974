defmodule Nlns.LeftOut do
  @moduledoc """
  Leaves out the tests that need namespaces where none can be made, and says so.

  Those tests have the tag `netns: true`, which `use Nlns.NetnsCase` and `use Nlns.VM` set. This is also an ExUnit
  formatter: it counts them, and ends the run's output with the count. With `CI=true` a run that has left
  out any fails.
  """

  use GenServer

  # Keys of what the start, the formatter and the end of the run tell each other.
  @missing {__MODULE__, :missing}
  @count {__MODULE__, :count}

  @how """
  Run them as root or, as a plain user, in namespaces of their own:

      scripts/with-netns mix test
  """

  @doc "The tests to exclude; says aloud, before the run, if there are any, and why."
  @spec exclude(:ok | {:error, String.t()}) :: keyword()
  def exclude(:ok), do: []

  def exclude({:error, missing}) do
    :persistent_term.put(@missing, missing)
    IO.puts("LEFT OUT: every test that needs network namespaces, because of #{missing}\n#{@how}")
    [netns: true]
  end

  @doc "Says aloud what a test leaves out, because the kernel lacks it."
  @spec part(String.t()) :: :ok
  def part(text), do: IO.puts("\nLEFT OUT: #{text}")

  # Callbacks run once all formatters have printed. Formatters start one after the other, and end all at once.
  @impl true
  def init(_options) do
    ExUnit.after_suite(fn _ -> end_run(:persistent_term.get(@count, 0)) end)
    {:ok, 0}
  end

  @impl true
  def handle_cast({:test_finished, %{state: {:excluded, _}, tags: %{netns: true}}}, count) do
    {:noreply, count + 1}
  end

  def handle_cast({:suite_finished, _times}, count) do
    :persistent_term.put(@count, count)
    {:noreply, count}
  end

  def handle_cast(_event, count), do: {:noreply, count}

  defp end_run(count) do
    {text, status} = ending(count, :persistent_term.get(@missing, nil), System.get_env("CI"))
    IO.write(text)
    if status != 0, do: System.at_exit(fn _ -> exit({:shutdown, status}) end)
  end

  @doc "What is said after a run that has left out so many tests, and the run's exit status because of it."
  @spec ending(non_neg_integer(), String.t() | nil, String.t() | nil) :: {String.t(), 0 | 1}
  def ending(count, missing, _ci) when count == 0 or missing == nil, do: {"", 0}

  def ending(count, missing, ci) do
    text =
      "\nLEFT OUT: #{count} tests that need network namespaces, because of #{missing}\n#{@how}"

    if ci in [nil, "", "false"],
      do: {text, 0},
      else: {text <> "\nWith CI=#{ci} that is a failure.\n", 1}
  end
end
