defmodule NetnsAgent.Page do
  @moduledoc """
  The page: one HTML document, which asks for what it shows as often as namespaces are read.

  Names get into it as text only (`textContent`), and its Content-Security-Policy lets nothing run or be
  fetched but its own.
  """

  alias NetnsAgent.{Config, Http, Sample, Store, Text}

  @external_resource path = Path.join(__DIR__, "page.html")
  @html File.read!(path)

  [_, style, _, script, _] = String.split(@html, ~r"</?(style|script)>")
  hash = &Base.encode64(:crypto.hash(:sha256, &1))

  @policy "default-src 'none'; connect-src 'self'; img-src data:; form-action 'self'; " <>
            "base-uri 'none'; frame-ancestors 'none'; " <>
            "style-src 'sha256-#{hash.(style)}'; script-src 'sha256-#{hash.(script)}'"

  @headers [{"content-type", "text/html; charset=utf-8"}, {"content-security-policy", @policy}]

  # Namespaces in one answer; the filter finds the others.
  @limit 200

  @spec document() :: {200, headers :: [{String.t(), String.t()}], html :: String.t()}
  def document, do: {200, @headers, @html}

  @doc "What it shows: everything, and of the namespaces those whose name contains `query`."
  @spec content(String.t(), Config.t()) :: %{atom() => term()}
  def content(query, config) do
    rows = for {%{id: id}, _sample} = row <- Store.all(), id =~ query, do: row
    # Those that need somebody's eyes come first.
    first = Enum.sort_by(rows, fn {_, sample} -> !(sample && sample.error) end)
    pool = Map.update!(Nlns.info(), :helpers, &length/1)

    %{
      every: config.scrape_every,
      namespaces: for(row <- Enum.take(first, @limit), do: namespace(row)),
      matching: length(rows),
      machines: Http.in_stage(:checking, &NetnsAgent.overview/0),
      pool: Map.take(pool, ~w(helpers max_helpers stuck waiting)a)
    }
  end

  defp namespace({%{paths: [path | _]} = namespace, sample}) do
    known = sample || %Sample{at: 0}

    %{
      id: namespace.id,
      path: Text.readable(path),
      command: command(path),
      processes: namespace.processes,
      state: if(known.error, do: :failing, else: if(sample, do: :ok, else: :new)),
      error: known.error && elem(known.error, 1),
      links: known.links,
      more: known.more?
    }
  end

  # What the process is called, for a namespace that has no name of its own.
  defp command(path) do
    with [process, ""] <- String.split(path, "/ns/net"),
         {:ok, name} <- File.read(process <> "/comm"),
         do: name |> String.trim_trailing("\n") |> Text.readable(),
         else: (_ -> nil)
  end
end
