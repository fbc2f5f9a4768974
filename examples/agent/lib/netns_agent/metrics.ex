defmodule NetnsAgent.Metrics do
  @moduledoc """
  Everything as Prometheus text (exposition format 0.0.4).

  A namespace whose last reading failed has `netns_agent_namespace_up` 0 and no interfaces: old values
  would look like an interface that carries nothing.

  A process makes it, at most once in a second: making it costs more than asking for it.
  """

  use Agent

  alias NetnsAgent.{Sample, Store, Text}

  @fresh 1_000

  # What counts since the start in Nlns.info/0. The others are what is so now.
  @counters ~w(opened exchanged failed refused cancelled entered started woken died)a

  def start_link(_), do: Agent.start_link(fn -> {now(), nil} end, name: __MODULE__)

  @spec text() :: binary()
  def text, do: Agent.get_and_update(__MODULE__, &fresh/1, :infinity)

  # Fresh from when it is made: those that asked meanwhile are answered by it, however long it took.
  defp fresh({until, text} = state) do
    if now() < until do
      {text, state}
    else
      # In a process of its own, with which the memory for it goes.
      text = Task.await(Task.async(&render/0), :infinity)
      {text, {now() + @fresh, text}}
    end
  end

  defp now, do: System.monotonic_time(:millisecond)

  defp render do
    (namespaces(Store.all()) ++ agent() ++ pool())
    |> Enum.map(fn {name, help, values} -> family(name, help, values) end)
    |> IO.iodata_to_binary()
  end

  defp namespaces(rows) do
    up = for {%{id: id}, %{error: error}} <- rows, do: {labels(netns: id), boolean(!error)}

    # The labels are made once for an interface and used for all of its counters.
    links =
      for {%{id: id}, %{error: nil, links: links}} <- rows,
          link <- links,
          do: {labels(netns: id, interface: link.name), link}

    [
      {"netns_agent_namespaces", "Network namespaces that are followed", length(rows)},
      {"netns_agent_namespace_up", "Whether the last scrape of the namespace succeeded", up},
      {"netns_interface_up", "Whether the interface is up",
       for({labels, link} <- links, do: {labels, boolean(link.up?)})}
      | for key <- Sample.counters() do
          {"netns_interface_#{key}_total", "The interface's #{key} in IFLA_STATS64",
           for({labels, link} <- links, do: {labels, link.counters[key]})}
        end
    ]
  end

  defp agent do
    by = &for {key, n} <- Store.labelled(&1), do: {labels([{&2, key}]), n}

    [
      {"netns_agent_scrapes_total", "Scrapes of a namespace", Store.get(:scrapes) || 0},
      {"netns_agent_scrape_failures_total", "Scrapes that failed", by.(:failures, :at)},
      {"netns_agent_rounds_total", "Rounds of scrapes", by.(:rounds, :lane)},
      {"netns_agent_round_duration_seconds", "How long the last round took",
       by.(:round_took, :lane)},
      {"netns_agent_namespaces_come_total", "Namespaces that came", Store.get(:came) || 0},
      {"netns_agent_namespaces_gone_total", "Namespaces that went", Store.get(:gone) || 0},
      {"netns_agent_namespaces_not_followed", "Beyond max_namespaces", Store.get(:dropped) || 0}
    ]
  end

  defp pool do
    for {key, n} <- Map.update!(Nlns.info(), :helpers, &length/1), is_integer(n) do
      {"nlns_#{key}#{if key in @counters, do: "_total"}", "#{key} in Nlns.info/0", n}
    end
  end

  defp family(_name, _help, []), do: []
  defp family(name, help, n) when is_integer(n), do: family(name, help, [{"", n}])

  defp family(name, help, values) do
    type = if String.ends_with?(name, "_total"), do: "counter", else: "gauge"
    lines = for {labels, value} <- values, do: [name, labels, " ", to_string(value), "\n"]
    ["# HELP ", name, " ", help, ".\n# TYPE ", name, " ", type, "\n" | lines]
  end

  defp labels(labels),
    do: "{#{Enum.map_join(labels, ",", fn {k, v} -> "#{k}=#{Text.quoted(to_string(v))}" end)}}"

  defp boolean(truth), do: if(truth, do: 1, else: 0)
end
