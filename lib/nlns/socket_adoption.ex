defmodule Nlns.SocketAdoption do
  @moduledoc false
  # Makes OTP sockets of descriptors.
  #
  # `:socket` closes a descriptor on a scheduler when the socket's owner dies. The last close of some kinds takes
  # the kernel milliseconds, even unused. There nlns does the last close: its own descriptor outlives the
  # duplicate of `:socket`. That takes two descriptors and a process that monitors the socket.
  #
  # `%{dup: false}` would take one descriptor, which `:socket` never closes. But `:socket` reports the end of a
  # socket before it removes the number from its poll set, so closing then makes the VM poll another socket's
  # descriptor. If the monitoring process were killed, the number would have no owner.
  #
  # If the owner is killed in the middle of `:socket.close/1`, `:socket` may not report the end (seen with OTP 25).
  # So the monitoring process looks now and then.
  #
  # Other kinds have one descriptor, which `:socket` closes. With a second one a port would not be free when
  # `:socket.close/1` returns. If their use may make the close long, the library looks at them when the owner dies
  # (`native/nlns_core/src/owned.rs`).

  alias Nlns.{Close, Native}

  # In ms. How long a socket whose end was not reported may hold its namespace. Less, and each socket of a slow
  # kind wakes a scheduler more often.
  @look_every 1_000

  @doc """
  Makes a `:socket` of the descriptor of a resource, which is closed in every case, also if the caller is
  killed on the way.

  `:socket.open/2` duplicates a descriptor and closes only the duplicate. The registry, which serves
  `:socket.which_sockets/0` alone, is a process to be asked; adopting is a third cheaper without it.
  """
  @spec socket(Native.resource()) :: {:ok, :socket.socket()} | {:error, atom()}
  def socket(resource) do
    with {:ok, fd, owner, short} <- Native.borrow(resource) do
      case adopt(fd, short) do
        {:ok, socket, duplicate} when short == :never ->
          watch(socket, duplicate, owner)

        adopted ->
          Close.resource(owner)
          with {:ok, socket, _duplicate} <- adopted, do: {:ok, socket}
      end
    end
  end

  defp adopt(fd, short) do
    with {:ok, socket} <- :socket.open(fd, %{use_registry: false}) do
      with {:ok, duplicate} <- :socket.getopt(socket, :otp, :fd),
           :ok <- Native.adopted(duplicate, short == :unused) do
        {:ok, socket, duplicate}
      else
        {:error, _reason} ->
          _ = :socket.close(socket)
          {:error, :ebadf}
      end
    end
  end

  # If this process is killed, or its code purged, our descriptor closes with it, and `:socket` does the last
  # close.
  defp watch(socket, duplicate, owner) do
    _pid =
      spawn(fn ->
        await_end(socket, :socket.monitor(socket))
        Native.close_after(owner, duplicate)
      end)

    {:ok, socket}
  rescue
    # The VM has all the processes that it may have.
    SystemLimitError ->
      _ = :socket.close(socket)
      Close.resource(owner)
      {:error, :eagain}
  end

  defp await_end(socket, monitor) do
    receive do
      {:DOWN, ^monitor, :socket, _socket, _info} -> :ok
    after
      @look_every ->
        case :socket.getopt(socket, :otp, :fd) do
          {:ok, _duplicate} -> await_end(socket, monitor)
          {:error, _closed} -> :ok
        end
    end
  end
end
