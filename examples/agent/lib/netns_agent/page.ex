defmodule NetnsAgent.Page do
  @moduledoc """
  The page: one HTML document that needs nothing else. Its script fetches it again as often as
  namespaces are scraped, and puts the new `<main>` in the place of the old one.
  """

  require EEx

  alias NetnsAgent.{Cluster, Config, Namespace, Store}
  alias NetnsAgent.Page.Format

  @directory Path.join(__DIR__, "page")
  @template Path.join(@directory, "page.html.eex")
  @style File.read!(Path.join(@directory, "page.css"))
  @script File.read!(Path.join(@directory, "page.js"))

  for file <- ~w(page.html.eex page.css page.js),
      do: @external_resource(Path.join(@directory, file))

  # Namespaces on one page; the filter finds the others.
  @limit 200

  # The browser runs and shows what is in this file, and what a namespace smuggles in by its name it
  # does not.
  @policy "default-src 'none'; connect-src 'self'; img-src data:; form-action 'self'; " <>
            "base-uri 'none'; frame-ancestors 'none'; " <>
            "style-src 'sha256-#{Base.encode64(:crypto.hash(:sha256, @style))}'; " <>
            "script-src 'sha256-#{Base.encode64(:crypto.hash(:sha256, @script))}'"

  @spec headers() :: [{String.t(), String.t()}]
  def headers, do: [{"content-security-policy", @policy}]

  @doc "The page with those namespaces whose name contains `query`."
  @spec render(String.t(), Config.t()) :: iodata()
  def render(query, config) do
    rows = for {ns, sample} <- Store.all(), matches?(ns, query), do: {ns, sample}

    template(
      style: {:safe, @style},
      script: {:safe, @script},
      every: config.scrape_every,
      query: query,
      summary: NetnsAgent.summary(),
      rows: rows |> Enum.sort_by(&order/1) |> Enum.take(@limit),
      matching: length(rows),
      rounds: Store.labelled(:round_took),
      pool: Nlns.info(),
      machines: machines(),
      now: System.monotonic_time(:millisecond)
    )
  end

  EEx.function_from_file(:defp, :template, @template, [:assigns],
    engine: NetnsAgent.Page.Engine,
    trim: true
  )

  # Those that need somebody's eyes first.
  defp order({namespace, %{error: error}}), do: {is_nil(error), namespace.id}
  defp order({namespace, nil}), do: {true, namespace.id}

  defp matches?(_namespace, ""), do: true
  defp matches?(namespace, query), do: String.contains?(namespace.id, query)

  # One machine is no cluster.
  defp machines, do: if(Cluster.nodes() == [node()], do: [], else: Cluster.overview())

  defp state(nil), do: "new"
  defp state(%{error: nil}), do: "ok"
  defp state(_sample), do: "failing"

  defp took(rounds, lane) do
    case List.keyfind(rounds, lane, 0) do
      {_, took} -> took |> System.convert_time_unit(:native, :microsecond) |> Format.duration()
      nil -> "–"
    end
  end

  defp trouble(link, key), do: link.counters[:"rx_#{key}"] + link.counters[:"tx_#{key}"]

  defp packets(%{rates: %{rx_packets: rx, tx_packets: tx}}), do: rx + tx
  defp packets(_link), do: nil
end
