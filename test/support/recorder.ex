defmodule Nlns.Recorder do
  @moduledoc "In `:telemetry`'s place, for the time of a test: sends every event to the test."

  alias Nlns.Telemetry

  @source """
  defmodule :telemetry do
    def execute(event, measurements, metadata) do
      send(:persistent_term.get(:nlns_recorder), {event, measurements, metadata, self()})
      :ok
    end

    # As the library's own, but for exceptions.
    def span(prefix, metadata, fun) do
      context = %{telemetry_span_context: make_ref()}
      began = System.monotonic_time()
      times = %{monotonic_time: began, system_time: System.system_time()}
      execute(prefix ++ [:start], times, Map.merge(context, metadata))
      {result, metadata} = fun.()
      ended = System.monotonic_time()
      times = %{monotonic_time: ended, duration: ended - began}
      execute(prefix ++ [:stop], times, Map.merge(context, metadata))
      result
    end
  end
  """

  @spec install() :: :ok
  def install do
    :persistent_term.put(:nlns_recorder, self())
    Code.compile_string(@source)
    :telemetry = Telemetry.look_up()
    :ok
  end

  @spec remove() :: :ok
  def remove do
    :code.purge(:telemetry)
    :code.delete(:telemetry)
    :code.purge(:telemetry)
    nil = Telemetry.look_up()
    :ok
  end
end
