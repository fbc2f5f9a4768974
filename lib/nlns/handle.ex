defmodule Nlns.Handle do
  @moduledoc """
  Owns one open descriptor, from the answer's message until somebody takes it over.

  Whoever holds the handle may take the descriptor out of it, once: `to_fd/1` and `to_socket/1` move
  it to the caller. A handle that nobody uses closes its descriptor when it is garbage collected; as
  that can take long in an idle process, and an open descriptor keeps a dead container's network
  alive, `close/1` those that are not wanted.

  A handle means something on its own node only.
  """

  alias Nlns.Native

  @enforce_keys [:resource]
  defstruct @enforce_keys

  @opaque t :: %__MODULE__{resource: Native.resource()}

  @doc """
  Moves the descriptor to the caller, who must close it (`Nlns.close_fd/1`).

  `{:error, :closed}` if the handle has no descriptor any more.
  """
  @spec to_fd(t()) :: {:ok, non_neg_integer()} | {:error, :closed}
  def to_fd(handle), do: handle |> resource!() |> Native.take()

  @doc """
  Makes a `t::socket.socket/0` of it, which the calling process owns: it is closed by
  `:socket.close/1` and when that process ends.

  The handle is spent whatever this returns. `:socket` duplicates the descriptor it is given; here
  the original is closed (for `:packet` after the socket, see `Nlns.open_socket/5`) and the duplicate set
  close-on-exec. An errno that `:socket` has is returned
  as its atom.
  """
  @spec to_socket(t()) :: {:ok, :socket.socket()} | {:error, :closed | atom()}
  def to_socket(handle) do
    handle |> resource!() |> Nlns.Adopt.socket()
  end

  @doc "Closes the descriptor, if the handle still has it. It is closed when this returns."
  @spec close(t()) :: :ok
  def close(handle), do: handle |> resource!() |> Nlns.Close.resource()

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
