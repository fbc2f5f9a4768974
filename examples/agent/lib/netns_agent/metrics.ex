defmodule NetnsAgent.Metrics do
  @moduledoc """
  Everything as Prometheus text (exposition format 0.0.4).

  A namespace whose last reading failed has `netns_agent_namespace_up` 0 and no interfaces: old values
  would look like an interface that carries nothing.

  A process makes it, at most once in a second: making it costs more than asking for it.
  """

  use GenServer

  alias NetnsAgent.{Sample, Store, Text}

  @fresh 1_000

  # What counts since the start in Nlns.info/0. The others are what is so now.
  @counters ~w(opened failed refused cancelled entered started died)a

  @spec start_link(term()) :: GenServer.on_start()
  def start_link(_), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @spec text() :: binary()
  def text, do: GenServer.call(__MODULE__, :text, :infinity)

  @impl true
  def init(nil), do: {:ok, {nil, nil}}

  @impl true
  def handle_call(:text, _from, {made, text}) do
    now = System.monotonic_time(:millisecond)

    if made != nil and now - made < @fresh,
      do: {:reply, text, {made, text}},
      else: render() |> then(&{:reply, &1, {now, &1}, :hibernate})
  end

  defp render do
    rows = Store.all()
    IO.iodata_to_binary([namespaces(rows), interfaces(rows), agent(), pool(Nlns.info())])
  end

  defp namespaces(rows) do
    up = for {%{id: id}, %{error: error}} <- rows, do: {labels(netns: id), boolean(error == nil)}

    info =
      for {%{id: id, paths: [path | _]}, sample} <- rows do
        {labels(netns: id, path: Text.readable(path), command: sample && sample.command), 1}
      end

    [
      gauge("netns_agent_namespaces", "Network namespaces that are followed", length(rows)),
      gauge("netns_agent_namespace_up", "Whether the last scrape of the namespace succeeded", up),
      gauge("netns_agent_namespace_info", "Where the namespace is found", info)
    ]
  end

  # The labels are made once for an interface and used for all of its counters.
  defp interfaces(rows) do
    links =
      for {%{id: id}, %{error: nil, links: links}} <- rows,
          link <- links,
          do: {labels(netns: id, interface: link.name), link}

    up = for {labels, link} <- links, do: {labels, boolean(link.up?)}

    [
      gauge("netns_interface_up", "Whether the interface is up", up)
      | for key <- Sample.counters() do
          values = for {labels, link} <- links, do: {labels, link.counters[key]}

          counter(
            "netns_interface_#{key}_total",
            "The interface's #{key} in IFLA_STATS64",
            values
          )
        end
    ]
  end

  defp agent do
    took = for {lane, us} <- Store.labelled(:round_took), do: {labels(lane: lane), us / 1_000_000}
    number = &Store.get(&1, 0)

    by = fn name, label ->
      for {key, n} <- Store.labelled(name), do: {labels([{label, key}]), n}
    end

    [
      counter("netns_agent_scrapes_total", "Scrapes of a namespace", number.(:scrapes)),
      counter("netns_agent_scrape_failures_total", "Scrapes that failed", by.(:failures, :at)),
      counter("netns_agent_rounds_total", "Rounds of scrapes", by.(:rounds, :lane)),
      counter("netns_agent_rounds_late_total", "Rounds left out", by.(:rounds_late, :lane)),
      gauge("netns_agent_round_duration_seconds", "How long the last round took", took),
      counter("netns_agent_namespaces_come_total", "Namespaces that came", number.(:came)),
      counter("netns_agent_namespaces_gone_total", "Namespaces that went", number.(:gone)),
      gauge("netns_agent_namespaces_not_followed", "Beyond max_namespaces", number.(:dropped))
    ]
  end

  defp pool(nil), do: []

  defp pool(info) do
    for {key, n} <- Map.put(info, :helpers, length(info.helpers)), is_integer(n) do
      help = "#{key} in Nlns.info/0"

      if key in @counters,
        do: counter("nlns_#{key}_total", help, n),
        else: gauge("nlns_#{key}", help, n)
    end
  end

  defp gauge(name, help, values), do: family("gauge", name, help, values)
  defp counter(name, help, values), do: family("counter", name, help, values)

  defp family(_type, _name, _help, []), do: []
  defp family(type, name, help, n) when is_number(n), do: family(type, name, help, [{"", n}])

  defp family(type, name, help, values) do
    lines = for {labels, value} <- values, do: [name, labels, " ", to_string(value), "\n"]
    ["# HELP ", name, " ", help, ".\n# TYPE ", name, " ", type, "\n" | lines]
  end

  defp labels(labels) do
    "{" <> Enum.map_join(labels, ",", fn {k, v} -> "#{k}=#{Text.quoted(to_string(v))}" end) <> "}"
  end

  defp boolean(true), do: 1
  defp boolean(false), do: 0
end
