defmodule Nlns.Handle do
  @moduledoc """
  Owns one open descriptor, from the answer's message until a process takes the descriptor.

  A process that has the handle can take the descriptor out of it, once: `to_fd/1` and `to_socket/1` move it to
  the caller. An unused handle closes its descriptor when it is garbage collected. That can take long in an
  idle process, and an open descriptor keeps a dead container's network alive. So call `close/1` on handles
  that you do not need.

  A handle is valid on its own node only. Its field is private.
  """
  @moduledoc since: "0.1.0"

  alias Nlns.{Close, Errno, Error, Native, SocketAdoption}

  @ebadf 9

  @enforce_keys [:resource]
  defstruct @enforce_keys

  # No @opaque: dialyzer would refuse `%Nlns.Handle{} = handle`, which is how a message is received.
  @type t :: %__MODULE__{resource: reference()}

  @doc """
  Moves the descriptor to the caller, who must close it (`Nlns.close_fd/1`).

  Returns `{:error, :closed}` if the handle no longer has a descriptor.
  """
  @doc since: "0.1.0"
  @spec to_fd(t()) :: {:ok, non_neg_integer()} | {:error, :closed}
  def to_fd(handle), do: handle |> resource!() |> Native.take()

  @doc "Returns what `to_fd/1` does, or raises `Nlns.Error` of the stage `:handle`."
  @doc since: "0.1.0"
  @spec to_fd!(t()) :: non_neg_integer()
  def to_fd!(handle), do: handle |> to_fd() |> ok!()

  @doc """
  Returns the descriptor as a `t::socket.socket/0` that the calling process owns.

  `:socket.close/1` closes it, and so does the end of that process. The handle is spent whatever this returns.
  `:socket` duplicates the descriptor. nlns sets close-on-exec on the duplicate, and closes the original. For kinds
  that are slow to close, such as `:packet`, it does so after the socket, see [closing](closing.md). An errno of
  `:socket` is returned as its atom.
  """
  @doc since: "0.1.0"
  @spec to_socket(t()) :: {:ok, :socket.socket()} | {:error, :closed | atom()}
  def to_socket(handle), do: handle |> resource!() |> SocketAdoption.socket()

  @doc """
  Returns what `to_socket/1` does, or raises `Nlns.Error`: of the stage `:handle` for a handle without a
  descriptor, else of `:socket`.
  """
  @doc since: "0.1.0"
  @spec to_socket!(t()) :: :socket.socket()
  def to_socket!(handle), do: handle |> to_socket() |> ok!()

  @doc "Closes the descriptor, if the handle still has it. It is closed when this returns."
  @doc since: "0.1.0"
  @spec close(t()) :: :ok
  def close(handle), do: handle |> resource!() |> Close.resource()

  defp ok!({:ok, value}), do: value
  defp ok!({:error, :closed}), do: raise(Error, {:handle, @ebadf})
  defp ok!({:error, reason}), do: raise(Error, {:socket, Errno.number(reason)})

  defp resource!(%__MODULE__{resource: resource})
       when is_reference(resource) and node(resource) == node(),
       do: resource

  defp resource!(handle) do
    raise ArgumentError, "expected a handle of this node, got: #{inspect(handle)}"
  end

  defimpl Inspect do
    def inspect(%{resource: resource}, _opts), do: "#Nlns.Handle<#{Kernel.inspect(resource)}>"
  end
end
