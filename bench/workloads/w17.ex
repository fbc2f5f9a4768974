defmodule Bench.W17 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Dump, Measure, Namespaces, Native, Requirement, Rounds}
  alias NetnsAgent.{Config, Netlink}

  @namespaces 1000
  # Longer than nlns stays; see W13.
  @idle 1_200

  @impl true
  def title, do: "the example agent reads #{@namespaces} namespaces once, after idling"

  @impl true
  def run(size) do
    rows =
      Namespaces.with_links(@namespaces, fn paths ->
        Rounds.run(size, [
          {{"nlns", nil}, fn -> scrape(paths, &Nlns.Netlink.stream/4) end},
          {{"open_socket", nil}, fn -> scrape(paths, &Load.Socket.stream/4) end}
        ])
      end)

    pair = {{"nlns", nil}, {"open_socket", nil}}

    requirements = [
      Requirement.ratio(rows, "CPU, nlns / open_socket", :cpu, pair, {:at_most, 0.4})
    ]

    %{rows: rows, requirements: requirements, plot: nil}
  end

  defp scrape(paths, stream) do
    Process.sleep(@idle)

    Measure.alone(fn ->
      config = Config.new!([])
      cpu = Native.cpu_time()
      {us, links} = :timer.tc(fn -> read(paths, config, stream) end)
      cpu = Native.cpu_time() - cpu
      true = links == @namespaces * Dump.links()
      %{values: %{sweep: us / 1000, cpu: cpu / 1000 / @namespaces}}
    end)
  end

  defp read(paths, config, stream) do
    Enum.reduce(Netlink.read(paths, config, stream), 0, fn {_path, {:ok, links, false}}, count ->
      count + length(links)
    end)
  end
end
