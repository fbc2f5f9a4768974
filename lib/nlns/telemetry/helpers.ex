defmodule Nlns.Telemetry.Helpers do
  @moduledoc false
  # Reports to `:telemetry` where helpers settle and when they leave. The pool keeps a bounded number of events
  # and sends one message when there are some, so this process may be slow or be killed.

  use GenServer

  require Logger

  alias Nlns.{Native, Telemetry}

  # A failure usually lasts for a while: code that is being replaced, for example.
  @pause 1_000

  def start_link(_options), do: GenServer.start_link(__MODULE__, nil)

  @impl true
  def init(nil) do
    fetch()
    {:ok, nil}
  end

  @impl true
  def handle_info({:nlns, :events}, nil) do
    fetch()
    {:noreply, nil}
  end

  # A few at a time, so that this process can be stopped in between.
  defp fetch do
    case Native.events() do
      [] ->
        :ok

      events ->
        Enum.each(events, &tell/1)
        send(self(), {:nlns, :events})
    end
  catch
    kind, reason ->
      Logger.warning(
        "nlns: events of helpers: " <> Exception.format(kind, reason, __STACKTRACE__)
      )

      Process.send_after(self(), {:nlns, :events}, @pause)
  end

  defp tell({:pinned, helper, path, count}) do
    Telemetry.helper(:pinned, %{count: count}, %{helper: helper, path: path})
  end

  defp tell({:left, helper, path, count, nanoseconds, reason}) do
    duration = System.convert_time_unit(nanoseconds, :nanosecond, :native)
    metadata = %{helper: helper, path: path, reason: reason}
    Telemetry.helper(:left, %{count: count, duration: duration}, metadata)
  end
end
