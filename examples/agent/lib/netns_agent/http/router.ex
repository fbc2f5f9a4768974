defmodule NetnsAgent.Http.Router do
  @moduledoc """
  What there is to ask for; `README.md` has the list. Only a POST makes the agent do anything, as any page
  can have a browser GET.
  """

  alias NetnsAgent.{Config, Http, Metrics, Page, Text}

  @type answer :: {status :: 100..599, headers :: [{String.t(), String.t()}], body :: iodata()}

  @metrics [{"content-type", "text/plain; version=0.0.4; charset=utf-8"}]

  @spec answer(atom() | String.t(), String.t(), %{String.t() => String.t()}, Config.t()) ::
          answer()
  def answer(method, path, query, config) when method in [:GET, :HEAD] do
    case path do
      "/" -> Page.document()
      "/namespaces" -> json(200, Page.content(query["q"] || "", config))
      "/metrics" -> {200, @metrics, Metrics.text()}
      "/cluster" -> json(200, Http.in_stage(:checking, &NetnsAgent.overview/0))
      "/check" -> text(405)
      _ -> text(404)
    end
  end

  def answer(:POST, "/check", query, %{check_timeout: max}) do
    with %{"netns" => id, "port" => port} <- query,
         {port, ""} when port in 1..65_535 <- Integer.parse(port),
         {timeout, ""} when timeout in 1..max <- Integer.parse(query["timeout"] || "#{max}"),
         address = :binary.bin_to_list(query["address"] || "127.0.0.1"),
         {:ok, address} <- :inet.parse_strict_address(address) do
      options = [address: address, timeout: timeout]

      case Http.in_stage(:checking, fn -> NetnsAgent.check(id, port, options) end) do
        {:error, :no_such_namespace} ->
          json(404, %{error: "no such namespace"})

        {:ok, check} ->
          status = if check.result == :open, do: 200, else: 503
          json(status, %{result: check.result, ms: check.took / 1_000, error: check.text})
      end
    else
      _ -> json(400, %{error: "expected netns=ID&port=PORT, and perhaps address=IP&timeout=MS"})
    end
  end

  def answer(_method, _path, _query, _config), do: text(405)

  @doc "An answer that is its status only."
  @spec text(100..599) :: answer()
  def text(status), do: {status, [{"content-type", "text/plain"}], "#{status}\n"}

  defp json(status, body), do: {status, [{"content-type", "application/json"}], Text.json(body)}
end
