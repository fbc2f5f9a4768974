defmodule Nlns.Adopt do
  @moduledoc false
  # Descriptors that become OTP sockets.

  alias Nlns.Native

  @doc """
  A `:socket` instead of the descriptor of a resource, which is closed in every case, also if the
  caller is killed on the way.

  `:socket.open/2` duplicates a descriptor and closes only the duplicate; told not to duplicate, it
  closes nothing at all. So: duplicate, then close ours. The registry, which serves `:socket.which_sockets/0`
  alone, is a process to be asked; adopting is a third cheaper without it.
  """
  @spec socket(Native.resource()) :: {:ok, :socket.socket()} | {:error, atom()}
  def socket(resource) do
    with {:ok, fd, owner} <- Native.lend(resource),
         adopted = :socket.open(fd, %{use_registry: false}),
         :ok = Native.close(owner),
         {:ok, socket} <- adopted do
      case cloexec(socket) do
        :ok ->
          {:ok, socket}

        {:error, reason} ->
          _ = :socket.close(socket)
          {:error, reason}
      end
    end
  end

  defp cloexec(socket) do
    with {:ok, fd} <- :socket.getopt(socket, :otp, :fd),
         {:error, _errno} <- Native.set_cloexec(fd),
         do: {:error, :closed}
  end
end
