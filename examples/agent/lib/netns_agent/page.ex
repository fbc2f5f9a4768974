defmodule NetnsAgent.Page do
  @moduledoc """
  The page: one HTML document, which asks for what it shows as often as namespaces are read.

  Names get into it as text only (`textContent`), and its Content-Security-Policy lets nothing run or be
  fetched but its own.
  """

  alias NetnsAgent.{Cluster, Config, Http, Sample, Store, Text}

  [html, style, script] =
    for name <- ~w(page.html page.css page.js) do
      @external_resource path = Path.join([__DIR__, "page", name])
      File.read!(path)
    end

  hash = &Base.encode64(:crypto.hash(:sha256, &1))

  @html html |> String.replace("STYLE", style) |> String.replace("SCRIPT", script)
  @policy "default-src 'none'; connect-src 'self'; img-src data:; form-action 'self'; " <>
            "base-uri 'none'; frame-ancestors 'none'; " <>
            "style-src 'sha256-#{hash.(style)}'; script-src 'sha256-#{hash.(script)}'"

  # Namespaces in one answer; the filter finds the others.
  @limit 200

  @spec document() :: String.t()
  def document, do: @html

  @spec headers() :: [{String.t(), String.t()}]
  def headers,
    do: [{"content-type", "text/html; charset=utf-8"}, {"content-security-policy", @policy}]

  @doc "What it shows: everything, and of the namespaces those whose name contains `query`."
  @spec content(String.t(), Config.t()) :: %{atom() => term()}
  def content(query, config) do
    rows =
      for {namespace, sample} <- Store.all(), namespace.id =~ query, do: row(namespace, sample)

    info = Nlns.info()

    %{
      every: config.scrape_every,
      summary: NetnsAgent.summary(),
      # Those that need somebody's eyes come first.
      namespaces: rows |> Enum.sort_by(&{&1.state != :failing, &1.id}) |> Enum.take(@limit),
      matching: length(rows),
      # One machine is no cluster.
      machines:
        if(Cluster.nodes() == [node()],
          do: [],
          else: Http.in_stage(:checking, &Cluster.overview/0)
        ),
      pool:
        info &&
          %{
            Map.take(info, ~w(helpers max_helpers stuck waiting)a)
            | helpers: length(info.helpers)
          }
    }
  end

  defp row(namespace, sample) do
    %{error: error} = known = sample || %Sample{at: 0}

    %{
      id: namespace.id,
      path: Text.readable(hd(namespace.paths)),
      processes: namespace.processes,
      state: if(error, do: :failing, else: if(sample, do: :ok, else: :new)),
      error: error && elem(error, 1),
      command: known.command,
      links: known.links,
      more: known.more?
    }
  end
end
