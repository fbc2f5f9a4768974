defmodule NetnsAgent.Http.Router do
  @moduledoc """
  What there is to ask for:

    * `/` - the page; `?q=TEXT` shows the namespaces whose name has TEXT in it
    * `/metrics` - Prometheus text
    * `/check?netns=ID&port=PORT` - tries a TCP port in a namespace, `address=IP` and `timeout=MS` if
      wanted. JSON; 200 if it is open, 503 if not, 404 if there is no such namespace
    * `/cluster` - the summaries of all machines, JSON
  """

  alias NetnsAgent.{Cluster, Config, Json, Metrics, Page}

  @type answer :: {status :: 100..599, headers :: [{String.t(), String.t()}], body :: iodata()}

  @spec answer(String.t(), %{String.t() => String.t()}, Config.t()) :: answer()
  def answer("/", query, config) do
    {200, [{"content-type", "text/html; charset=utf-8"} | Page.headers()],
     Page.render(Map.get(query, "q", ""), config)}
  end

  def answer("/metrics", _query, _config) do
    {200, [{"content-type", "text/plain; version=0.0.4; charset=utf-8"}], Metrics.render()}
  end

  def answer("/check", query, config) do
    with {:ok, id} <- Map.fetch(query, "netns"),
         {:ok, port} <- number(query, "port", nil, 1..65_535),
         {:ok, address} <- address(query),
         max = config.check_timeout,
         {:ok, timeout} <- number(query, "timeout", max, 1..max) do
      id |> NetnsAgent.check(port, address: address, timeout: timeout) |> checked(id, port)
    else
      :error ->
        json(400, %{error: "expected netns=ID and port=PORT, and perhaps address=IP, timeout=MS"})
    end
  end

  def answer("/cluster", _query, _config), do: json(200, Cluster.overview())
  def answer(_path, _query, _config), do: json(404, %{error: "no such page"})

  defp checked({:error, :no_such_namespace}, id, _port) do
    json(404, %{netns: id, error: "no such namespace"})
  end

  defp checked({:ok, check}, id, port) do
    status = if check.result == :open, do: 200, else: 503
    body = %{netns: id, port: port, result: check.result, ms: check.took / 1_000}
    json(status, if(check.text, do: Map.put(body, :error, check.text), else: body))
  end

  defp number(query, key, default, range) do
    with {:ok, text} <- Map.fetch(query, key),
         {n, ""} <- Integer.parse(text),
         true <- n in range do
      {:ok, n}
    else
      :error when default != nil and not is_map_key(query, key) -> {:ok, default}
      _ -> :error
    end
  end

  defp address(%{"address" => text}) do
    case text |> String.to_charlist() |> :inet.parse_strict_address() do
      {:ok, address} -> {:ok, address}
      {:error, _} -> :error
    end
  end

  defp address(_query), do: {:ok, {127, 0, 0, 1}}

  defp json(status, body), do: {status, [{"content-type", "application/json"}], Json.encode(body)}
end
