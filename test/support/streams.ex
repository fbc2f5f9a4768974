defmodule Nlns.Streams do
  @moduledoc "TCP connections inside a namespace."

  # In ms. Longer than the kernel takes to bring data from one end of a connection to the other.
  @quiet 50

  @here %{family: :inet, addr: {127, 0, 0, 1}, port: 0}

  @doc "A listener on the loopback, and its address. It is closed when no term refers to it any more."
  @spec listener(Path.t()) :: {:socket.socket(), map()}
  def listener(path) do
    {:ok, listener} = Nlns.open_socket(path, :inet, :stream, :tcp)
    :ok = :socket.bind(listener, @here)
    :ok = :socket.listen(listener)
    {:ok, address} = :socket.sockname(listener)
    {listener, address}
  end

  @doc "Connects a socket whose close(2) waits so many seconds until its data is sent."
  @spec linger(:socket.socket(), map(), pos_integer()) :: :ok
  def linger(socket, address, seconds) do
    :ok = :socket.connect(socket, address)
    :ok = :socket.setopt(socket, {:socket, :linger}, %{onoff: true, linger: seconds})
  end

  @doc "Sends until the kernel takes no more, because the peer reads nothing; how many bytes it took."
  @spec fill(:socket.socket()) :: non_neg_integer()
  def fill(socket, sent \\ 0) do
    chunk = :binary.copy("x", 65_536)

    case :socket.send(socket, chunk, [], @quiet) do
      :ok -> fill(socket, sent + byte_size(chunk))
      {:error, {:timeout, rest}} -> fill(socket, sent + byte_size(chunk) - byte_size(rest))
      {:error, :timeout} -> sent
    end
  end
end
