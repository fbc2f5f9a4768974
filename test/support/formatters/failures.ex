defmodule Nlns.Failures do
  @moduledoc """
  An ExUnit formatter that ends the run's output with one line for each failed test.

  The full reports stand hundreds of lines above. A reader who has only the end of a log finds out here what
  failed.
  """

  use GenServer

  # A line of a log that is read as a whole.
  @longest 300

  # Callbacks run once all formatters have printed. Formatters start one after the other, and end all at once.
  @impl true
  def init(_options) do
    ExUnit.after_suite(fn _ -> IO.write(:persistent_term.get(__MODULE__, "")) end)
    {:ok, []}
  end

  @impl true
  def handle_cast({:test_finished, %{state: {:failed, failures}} = test}, lines) do
    {:noreply, [line(test.tags, test.name, failures) | lines]}
  end

  def handle_cast({:module_finished, %{state: {:failed, failures}} = module}, lines) do
    {:noreply, [line(%{file: module.file, line: 1}, inspect(module.name), failures) | lines]}
  end

  def handle_cast({:suite_finished, _times}, [_ | _] = lines) do
    :persistent_term.put(__MODULE__, ["\n" | Enum.reverse(lines)])
    {:noreply, lines}
  end

  def handle_cast(_event, lines), do: {:noreply, lines}

  @doc "The line of one failed test, with the end of line."
  @spec line(%{file: Path.t(), line: pos_integer()}, atom() | String.t(), list()) :: String.t()
  def line(%{file: file, line: line}, name, [{kind, reason, stack} | _]) do
    error = kind |> error(reason, stack) |> String.split() |> Enum.join(" ")
    "FAILED #{Path.relative_to_cwd(file)}:#{line} #{name}: #{String.slice(error, 0, @longest)}\n"
  end

  defp error(:error, %ExUnit.AssertionError{} = error, _stack), do: Exception.message(error)
  defp error(kind, reason, stack), do: Exception.format_banner(kind, reason, stack)
end
