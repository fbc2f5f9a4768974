defmodule NetnsAgent.Metrics do
  @moduledoc """
  Everything as Prometheus text (exposition format 0.0.4).

  A namespace whose last scrape failed has `netns_agent_namespace_up` 0 and no interfaces: old values
  would look like an interface that carries nothing.
  """

  alias NetnsAgent.{Escape, Namespace, Store}

  @interfaces [
    {:rx_bytes, "receive_bytes", "Bytes received"},
    {:tx_bytes, "transmit_bytes", "Bytes transmitted"},
    {:rx_packets, "receive_packets", "Packets received"},
    {:tx_packets, "transmit_packets", "Packets transmitted"},
    {:rx_errors, "receive_errors", "Errors when receiving"},
    {:tx_errors, "transmit_errors", "Errors when transmitting"},
    {:rx_dropped, "receive_drops", "Packets dropped when receiving"},
    {:tx_dropped, "transmit_drops", "Packets dropped when transmitting"}
  ]

  @pool [
    {:opened, "sockets_opened", "Sockets that helpers opened"},
    {:failed, "opens_failed", "Requests answered with a step's errno"},
    {:refused, "opens_refused", "Requests that no helper was to serve"},
    {:cancelled, "opens_cancelled", "Requests given up before they were served"},
    {:entered, "namespaces_entered", "Times a helper entered a namespace"},
    {:started, "helpers_started", "Helper threads started"},
    {:died, "helpers_died", "Helper threads that died of a panic"}
  ]

  @spec render() :: iodata()
  def render do
    rows = Store.all()
    [namespaces(rows), interfaces(rows), agent(), pool(Nlns.info())]
  end

  defp namespaces(rows) do
    read = for {namespace, sample} <- rows, sample, do: {labels(netns: namespace.id), sample}

    [
      family(
        :gauge,
        "netns_agent_namespaces",
        "Network namespaces that are followed",
        length(rows)
      ),
      family(
        :gauge,
        "netns_agent_namespace_up",
        "Whether the last scrape of the namespace succeeded",
        for({labels, sample} <- read, do: {labels, boolean(is_nil(sample.error))})
      ),
      family(
        :gauge,
        "netns_agent_scrape_duration_seconds",
        "How long the last scrape of the namespace took",
        for({labels, sample} <- read, do: {labels, sample.took / 1_000_000})
      ),
      family(
        :gauge,
        "netns_agent_namespace_info",
        "Where the namespace is found",
        for({namespace, sample} <- rows, do: {where(namespace, sample), 1})
      )
    ]
  end

  defp where(namespace, sample) do
    path = Namespace.path(hd(namespace.places))
    labels(netns: namespace.id, path: path, command: (sample && sample.command) || "")
  end

  defp interfaces(rows) do
    links =
      for {namespace, %{error: nil, links: links}} <- rows, link <- links do
        {labels(netns: namespace.id, interface: link.name), link}
      end

    [
      family(
        :gauge,
        "netns_interface_up",
        "Whether the interface is up",
        for({labels, link} <- links, do: {labels, boolean(link.up?)})
      )
      | for {key, name, help} <- @interfaces do
          values = for {labels, link} <- links, do: {labels, Map.fetch!(link.counters, key)}
          family(:counter, "netns_interface_#{name}_total", help, values)
        end
    ]
  end

  defp agent do
    [
      counter("netns_agent_scrapes_total", "Scrapes of a namespace", :scrapes),
      by("netns_agent_scrape_failures_total", "Scrapes that failed, by where", :failures, :at),
      by("netns_agent_rounds_total", "Rounds of scrapes", :rounds, :lane),
      by("netns_agent_rounds_late_total", "Rounds skipped for a slow one", :rounds_late, :lane),
      family(
        :gauge,
        "netns_agent_round_duration_seconds",
        "How long the last round took",
        for {lane, took} <- Store.labelled(:round_took) do
          {labels(lane: lane), System.convert_time_unit(took, :native, :microsecond) / 1_000_000}
        end
      ),
      counter("netns_agent_namespaces_come_total", "Namespaces that came", :came),
      counter("netns_agent_namespaces_gone_total", "Namespaces that went", :gone),
      family(
        :gauge,
        "netns_agent_namespaces_not_followed",
        "Namespaces beyond max_namespaces",
        Store.get(:dropped, 0)
      )
    ]
  end

  defp pool(nil), do: []

  defp pool(info) do
    states = Enum.frequencies_by(info.helpers, & &1.state)

    [
      family(
        :gauge,
        "nlns_helpers",
        "Helper threads by state",
        for state <- [:parked, :pinned, :serving, :stuck] do
          {labels(state: state), Map.get(states, state, 0)}
        end
      ),
      family(:gauge, "nlns_max_helpers", "Helper threads at most", info.max_helpers),
      family(:gauge, "nlns_requests_waiting", "Requests in queues", info.waiting)
      | for(
          {key, name, help} <- @pool,
          do: family(:counter, "nlns_#{name}_total", help, info[key])
        )
    ]
  end

  defp counter(name, help, key), do: family(:counter, name, help, Store.get(key, 0))

  defp by(name, help, key, label) do
    values = for {value, n} <- Store.labelled(key), do: {labels([{label, value}]), n}
    family(:counter, name, help, values)
  end

  defp family(_type, _name, _help, []), do: []
  defp family(type, name, help, n) when is_number(n), do: family(type, name, help, [{"", n}])

  defp family(type, name, help, values) do
    [
      ["# HELP ", name, " ", help, ".\n# TYPE ", name, " ", Atom.to_string(type), "\n"]
      | for({labels, value} <- values, do: [name, labels, " ", to_string(value), "\n"])
    ]
  end

  # Made once for an interface and used for all of its counters.
  defp labels(labels) do
    pairs =
      for {name, value} <- labels do
        [to_string(name), "=\"", Escape.label(to_string(value)), "\""]
      end

    IO.iodata_to_binary(["{", Enum.intersperse(pairs, ","), "}"])
  end

  defp boolean(true), do: 1
  defp boolean(false), do: 0
end
