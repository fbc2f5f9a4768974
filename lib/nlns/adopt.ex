defmodule Nlns.Adopt do
  @moduledoc false
  # Descriptors that become OTP sockets.

  alias Nlns.{Close, Native}

  # linux/socket.h; a part of the kernel's ABI.
  @af_packet 17

  @doc """
  A `:socket` instead of the descriptor of a resource, which is closed in every case, also if the
  caller is killed on the way.

  `:socket.open/2` duplicates a descriptor and closes only the duplicate; told not to duplicate, it
  closes nothing at all. So: duplicate, then close ours. The registry, which serves `:socket.which_sockets/0`
  alone, is a process to be asked; adopting is a third cheaper without it.
  """
  @spec socket(Native.resource()) :: {:ok, :socket.socket()} | {:error, atom()}
  def socket(resource) do
    with {:ok, fd, owner} <- Native.lend(resource) do
      adopted =
        with {:ok, socket} <- :socket.open(fd, %{use_registry: false}), do: prepare(socket)

      case adopted do
        {:ok, socket, :packet, duplicate} -> close_after(socket, duplicate, fd, owner)
        _ -> Close.resource(owner)
      end

      with {:ok, socket, _family, _duplicate} <- adopted, do: {:ok, socket}
    end
  end

  defp prepare(socket) do
    with {:ok, fd} <- :socket.getopt(socket, :otp, :fd),
         {:ok, domain} <- :socket.getopt(socket, :otp, :domain),
         :ok <- Native.set_cloexec(fd) do
      {:ok, socket, if(domain in [@af_packet, :packet], do: :packet, else: :other), fd}
    else
      {:error, _reason} ->
        _ = :socket.close(socket)
        {:error, :ebadf}
    end
  end

  # The last close of an `AF_PACKET` socket takes the kernel milliseconds, and when a socket's owner dies
  # OTP closes on a scheduler. So here ours outlives the duplicate, and a closer thread has the last.
  # If this process is killed, or its code purged, ours is closed with it.
  defp close_after(socket, duplicate, fd, owner) do
    _pid =
      spawn(fn ->
        monitor = :socket.monitor(socket)

        receive do
          {:DOWN, ^monitor, :socket, _socket, _info} -> await_closed(duplicate, link(fd), 1_000)
        end

        Close.resource(owner)
      end)

    :ok
  end

  # The message is sent a moment before the close.
  defp await_closed(duplicate, name, tries) do
    if tries > 0 and link(duplicate) == name do
      receive do
      after
        1 -> await_closed(duplicate, name, tries - 1)
      end
    end
  end

  defp link(fd), do: :file.read_link("/proc/self/fd/#{fd}")
end
