defmodule NetnsAgent.Http.Connection do
  @moduledoc "One request and its answer. What it asks for is `NetnsAgent.Http.Router`'s business."

  require Logger

  alias NetnsAgent.{Config, Http.Router}

  # ms until the request line and the headers are there.
  @timeout 5_000
  @max_headers 64

  @reasons %{
    200 => "OK",
    400 => "Bad Request",
    404 => "Not Found",
    405 => "Method Not Allowed",
    431 => "Request Header Fields Too Large",
    500 => "Internal Server Error",
    503 => "Service Unavailable"
  }

  @spec serve(:gen_tcp.socket(), Config.t()) :: :ok
  def serve(socket, config) do
    deadline = System.monotonic_time(:millisecond) + @timeout

    case request(socket, deadline) do
      {:ok, method, target} -> reply(socket, method, answer(method, target, config))
      {:refuse, status} -> reply(socket, :GET, text(status))
      # It went away, or took too long: nobody to tell.
      :closed -> :ok
    end

    :gen_tcp.close(socket)
  end

  defp request(socket, deadline) do
    case receive_packet(socket, deadline) do
      {:ok, {:http_request, method, target, _version}} ->
        headers(socket, deadline, method, target, @max_headers)

      {:ok, {:http_error, _line}} ->
        {:refuse, 400}

      # The line is longer than the socket's packet_size.
      {:error, :emsgsize} ->
        {:refuse, 431}

      {:error, _} ->
        :closed
    end
  end

  defp headers(socket, deadline, method, target, left) do
    case receive_packet(socket, deadline) do
      {:ok, :http_eoh} -> {:ok, method, target}
      {:ok, {:http_header, _, _, _, _}} when left == 0 -> {:refuse, 431}
      {:ok, {:http_header, _, _, _, _}} -> headers(socket, deadline, method, target, left - 1)
      {:ok, {:http_error, _line}} -> {:refuse, 400}
      {:error, :emsgsize} -> {:refuse, 431}
      {:error, _} -> :closed
    end
  end

  defp receive_packet(socket, deadline) do
    :gen_tcp.recv(socket, 0, max(deadline - System.monotonic_time(:millisecond), 0))
  end

  defp answer(method, {:abs_path, target}, config) when method in [:GET, :HEAD] do
    [path | query] = String.split(target, "?", parts: 2)
    query = query |> Enum.join() |> URI.decode_query()
    Router.answer(path, query, config)
  rescue
    error ->
      Logger.error("netns_agent: " <> Exception.format(:error, error, __STACKTRACE__))
      text(500)
  end

  defp answer(method, _target, _config) when method in [:GET, :HEAD], do: text(400)
  defp answer(_method, _target, _config), do: text(405)

  defp text(status), do: {status, [{"content-type", "text/plain"}], [@reasons[status], "\n"]}

  defp reply(socket, method, {status, headers, body}) do
    headers = [
      {"content-length", Integer.to_string(IO.iodata_length(body))},
      {"connection", "close"},
      {"cache-control", "no-store"},
      {"x-content-type-options", "nosniff"}
      | headers
    ]

    head = for {name, value} <- headers, do: [name, ": ", value, "\r\n"]
    body = if method == :HEAD, do: "", else: body
    line = ["HTTP/1.1 ", Integer.to_string(status), " ", @reasons[status], "\r\n"]
    :gen_tcp.send(socket, [line, head, "\r\n", body])
  end
end
