defmodule Nlns.Handle do
  @moduledoc """
  Owns one open descriptor, from the answer's message until somebody takes it over.

  Whoever holds the handle may take the descriptor out of it, once: `to_fd/1` and `to_socket/1` move
  it to the caller. A handle that nobody uses closes its descriptor when it is garbage collected; as
  that can take long in an idle process, and an open descriptor keeps a dead container's network
  alive, `close/1` those that are not wanted.

  A handle means something on its own node only. Its field is private.
  """
  @moduledoc since: "0.1.0"

  alias Nlns.{Adopt, Close, Errno, Error, Native}

  @ebadf 9

  @enforce_keys [:resource]
  defstruct @enforce_keys

  # No @opaque: dialyzer would refuse `%Nlns.Handle{} = handle`, which is how a message is received.
  @type t :: %__MODULE__{resource: Native.resource()}

  @doc """
  Moves the descriptor to the caller, who must close it (`Nlns.close_fd/1`).

  `{:error, :closed}` if the handle has no descriptor any more.
  """
  @doc since: "0.1.0"
  @spec to_fd(t()) :: {:ok, non_neg_integer()} | {:error, :closed}
  def to_fd(handle), do: handle |> resource!() |> Native.take()

  @doc "Returns what `to_fd/1` does, or raises `Nlns.Error` of the stage `:handle`."
  @doc since: "0.1.0"
  @spec to_fd!(t()) :: non_neg_integer()
  def to_fd!(handle), do: handle |> to_fd() |> ok!()

  @doc """
  Makes a `t::socket.socket/0` of it, which the calling process owns: it is closed by
  `:socket.close/1` and when that process ends.

  The handle is spent whatever this returns. `:socket` duplicates the descriptor it is given. The
  duplicate is set close-on-exec, and the original closed (for `:packet` after the socket, see
  `Nlns.open_socket/5`). An errno that `:socket` has is returned as its atom.
  """
  @doc since: "0.1.0"
  @spec to_socket(t()) :: {:ok, :socket.socket()} | {:error, :closed | atom()}
  def to_socket(handle), do: handle |> resource!() |> Adopt.socket()

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
