defmodule NetnsAgent.Http.Connection do
  @moduledoc """
  One request and its answer: reads the head, has OTP parse it, and answers if the client calls the agent
  by a name that it goes by. What was asked for is `NetnsAgent.Http.Router`'s business.
  """

  alias NetnsAgent.{Config, Http, Http.Router}

  # ms and bytes until the request's line and headers are there.
  @timeout 5_000
  @max_head 16_384
  @max_line 8_192

  # ms that an answer may take to its client, if nobody else needs the place, and bytes that this may still send.
  @linger 30_000
  @max_rest 1_048_576

  @always "connection: close\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"

  @spec serve(:socket.socket(), Config.t()) :: term()
  def serve(socket, config) do
    # If `Http` crashes before it says so, the socket was its own.
    receive do
      :yours -> talk(socket, config)
    after
      @timeout -> :ok
    end
  end

  defp talk(socket, config) do
    with {:ok, head} <- Http.in_stage(:asking, fn -> read(socket, "", now() + @timeout) end) do
      answer = head |> answer(socket, config) |> format(head)
      Http.in_stage(:taking, fn -> :socket.send(socket, answer, @linger) end)

      # Closing with unread bytes resets the connection, and the client may lose the answer: tcp(7).
      :socket.shutdown(socket, :write)
      Http.in_stage(:answered, fn -> drain(socket, now() + @linger, @max_rest) end)
    end
  end

  # One that is too long is read as far as it shows that.
  defp read(socket, head, deadline) do
    if head =~ "\r\n\r\n" or byte_size(head) > @max_head do
      {:ok, head}
    else
      with {:ok, more} <- receive_until(socket, deadline),
           do: read(socket, head <> more, deadline)
    end
  end

  defp drain(socket, deadline, left) do
    with {:ok, bytes} when byte_size(bytes) < left <- receive_until(socket, deadline),
         do: drain(socket, deadline, left - byte_size(bytes))
  end

  defp receive_until(socket, deadline), do: :socket.recv(socket, 0, max(deadline - now(), 0))

  defp now, do: System.monotonic_time(:millisecond)

  # A page from elsewhere can make its own name lead here (DNS rebinding), or have its visitors' browsers
  # send what it likes. The first calls the agent by a wrong name, and the second says where it is from.
  defp answer(bytes, socket, config) do
    [line | _] = :binary.split(bytes, "\r\n")
    [head | _] = :binary.split(bytes, "\r\n\r\n")

    with {414, true} <- {414, byte_size(line) <= @max_line},
         {431, true} <- {431, byte_size(head) <= @max_head},
         {:ok, {:http_request, method, target, version}, rest} <-
           :erlang.decode_packet(:http_bin, head <> "\r\n\r\n", []),
         {:ok, headers} <- headers(rest, []),
         {:ok, host, target} <- host(target, for({:Host, host} <- headers, do: host), version),
         {421, true} <- {421, own?(host, socket, config)},
         origins = for({"Origin", origin} <- headers, do: origin),
         {403, true} <- {403, origins -- ["http://" <> host, "https://" <> host] == []} do
      [path | query] = :binary.split(target, "?")
      Router.answer(method, path, URI.decode_query(Enum.join(query)), config)
    else
      {status, false} -> Router.text(status)
      _ -> Router.text(400)
    end
  end

  defp headers(rest, done) do
    case :erlang.decode_packet(:httph_bin, rest, []) do
      {:ok, {:http_header, _, name, _, value}, rest} ->
        headers(rest, [{name, String.trim(value, " \t")} | done])

      {:ok, :http_eoh, _} ->
        {:ok, done}

      _ ->
        :error
    end
  end

  # RFC 9112, 3.2: the absolute form says itself which host is meant. HTTP/1.0 did without any.
  defp host({:abs_path, path}, [host], _version), do: {:ok, host, path}
  defp host({:abs_path, path}, [], {1, 0}), do: {:ok, "localhost", path}
  defp host({:absoluteURI, :http, host, :undefined, path}, [_], _), do: {:ok, host, path}
  defp host({:absoluteURI, :http, host, port, path}, [_], _), do: {:ok, "#{host}:#{port}", path}
  defp host(_target, _hosts, _version), do: :error

  defp own?(host, socket, config) do
    {:ok, %{addr: ip}} = :socket.sockname(socket)
    name = host |> String.replace(~r/:\d*$/, "") |> String.downcase()
    name in ["localhost", Http.host(ip) | config.hosts]
  end

  defp format({status, headers, body}, head) do
    lines = for {name, value} <- headers, do: [name, ": ", value, "\r\n"]
    length = "content-length: #{IO.iodata_length(body)}\r\n"
    body = if String.starts_with?(head, "HEAD "), do: "", else: body
    ["HTTP/1.1 #{status} \r\n", @always, length, lines, "\r\n", body]
  end
end
