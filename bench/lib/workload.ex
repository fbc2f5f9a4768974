defmodule Bench.Workload do
  @moduledoc "One line of the table in bench/README.md."

  @type result :: %{
          required(:rows) => [map()],
          required(:requirements) => [map()],
          # What to draw of it.
          required(:plot) => nil | :latency | {:throughput, at :: String.t()}
        }

  @callback title() :: String.t()
  @callback run(Bench.size()) :: result()
end
