# A hundred clients that send a byte a second to the agent, and come back a second after they are sent away.
#
#     clients.exs PORT

defmodule Clients do
  def run(port) do
    with {:ok, socket} <- :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false]) do
      trickle(socket)
      :gen_tcp.close(socket)
    end

    Process.sleep(1_000)
    run(port)
  end

  defp trickle(socket) do
    with :ok <- :gen_tcp.send(socket, "G"),
         {:error, :timeout} <- :gen_tcp.recv(socket, 0, 1_000),
         do: trickle(socket)
  end
end

port = System.argv() |> hd() |> String.to_integer()
for _ <- 1..100, do: spawn_link(fn -> Clients.run(port) end)
IO.puts("ready")
# Ends with the one that started it.
IO.read(:line)
