defmodule :telemetry do
  def span(prefix, metadata, fun) do
    execute(prefix ++ [:start], %{}, metadata)
    {result, metadata} = fun.()
    execute(prefix ++ [:stop], %{}, metadata)
    result
  end

  def execute(event, _measurements, metadata) do
    IO.puts("event #{inspect(event)} #{metadata[:netns]}")
  end
end
