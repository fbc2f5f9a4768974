defmodule Nlns.Uses.HttpTest do
  # A health check: an HTTP server that listens on a container's loopback alone is asked.
  use Nlns.NetnsCase

  @timeout within()
  @loopback %{family: :inet, addr: {127, 0, 0, 1}}

  setup do
    path = netns()
    Netns.up(path, "lo")
    %{path: path}
  end

  test "a server on a container's loopback answers only through nlns",
       %{path: path} do
    # The same port on the host, bound but not listening: no other server can be there.
    {:ok, host} = :socket.open(:inet, :stream, :tcp)
    {:ok, port} = bind(host, 0)

    {:ok, listener} = Nlns.open_socket(path, :inet, :stream, :tcp)
    assert {:ok, ^port} = bind(listener, port)
    :ok = :socket.listen(listener)
    server = Task.async(fn -> serve(listener) end)

    assert :gen_tcp.connect({127, 0, 0, 1}, port, []) == {:error, :econnrefused}

    {:ok, client} = Nlns.open_socket(path, :inet, :stream, :tcp)
    :ok = :socket.connect(client, Map.put(@loopback, :port, port), @timeout)
    :ok = :socket.send(client, "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n", @timeout)
    response = receive_all(client, "")
    assert Task.await(server, within()) == {:abs_path, "/health"}

    assert {:ok, {:http_response, {1, 1}, 200, "OK"}, rest} =
             :erlang.decode_packet(:http_bin, response, [])

    assert [_headers, "well inside"] = String.split(rest, "\r\n\r\n")
    for socket <- [client, listener, host], do: :ok = :socket.close(socket)
  end

  defp bind(socket, port) do
    with :ok <- :socket.bind(socket, Map.put(@loopback, :port, port)),
         {:ok, %{port: port}} <- :socket.sockname(socket),
         do: {:ok, port}
  end

  # One request; what was asked for.
  defp serve(listener) do
    {:ok, socket} = :socket.accept(listener, @timeout)
    {:ok, request} = :socket.recv(socket, 0, @timeout)
    {:ok, {:http_request, :GET, asked, _}, _} = :erlang.decode_packet(:http_bin, request, [])
    body = "well inside"
    head = "HTTP/1.1 200 OK\r\ncontent-length: #{byte_size(body)}\r\nconnection: close\r\n\r\n"
    :ok = :socket.send(socket, [head, body], @timeout)
    :ok = :socket.close(socket)
    asked
  end

  defp receive_all(socket, received) do
    case :socket.recv(socket, 0, @timeout) do
      {:ok, data} -> receive_all(socket, received <> data)
      {:error, :closed} -> received
    end
  end
end
