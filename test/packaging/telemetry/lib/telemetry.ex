defmodule :telemetry do
  def execute(event, _measurements, metadata) do
    IO.puts("event #{inspect(event)} #{metadata[:netns]}")
  end
end
