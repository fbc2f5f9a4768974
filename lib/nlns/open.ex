defmodule Nlns.Open do
  @moduledoc false
  # Opens with arguments as `Nlns.Native` takes them: submits to the pool, and waits for the answer or leaves it
  # to the mailbox.

  alias Nlns.{Errno, Native, Request, SocketAdoption, Telemetry}

  @eio 5

  @typep netns :: binary() | pos_integer()

  @doc "Opens and returns the descriptor as a number."
  @spec fd(netns(), non_neg_integer(), non_neg_integer(), non_neg_integer(), timeout()) ::
          {:ok, non_neg_integer()} | {:error, Nlns.reason()}
  def fd(netns, domain, type, protocol, timeout) do
    with {:ok, resource} <- open(netns, domain, type, protocol, timeout) do
      # Only the caller has this resource, so `:closed` means that `Nlns.Native` was purged.
      with {:error, :closed} <- Native.take(resource), do: {:error, {:thread, @eio}}
    end
  end

  @doc "Opens and has `:socket` adopt the descriptor."
  @spec socket(netns(), non_neg_integer(), non_neg_integer(), non_neg_integer(), timeout()) ::
          {:ok, :socket.socket()} | {:error, Nlns.reason()}
  def socket(netns, domain, type, protocol, timeout) do
    with {:ok, resource} <- open(netns, domain, type, protocol, timeout) do
      case SocketAdoption.socket(resource) do
        {:ok, socket} -> {:ok, socket}
        {:error, :closed} -> {:error, {:thread, @eio}}
        {:error, reason} -> {:error, {:socket, Errno.number(reason)}}
      end
    end
  end

  @doc "Hands the request over and returns it; the answer is one message to the caller."
  @spec async(netns(), non_neg_integer(), non_neg_integer(), non_neg_integer(), timeout()) ::
          Request.t()
  def async(netns, domain, type, protocol, timeout) do
    Request.start(netns, timeout, &Native.open_handle(netns, domain, type, protocol, &1))
  end

  defp open(netns, domain, type, protocol, timeout) do
    metadata = %{netns: netns, domain: domain, type: type, protocol: protocol}

    Telemetry.span(:open, metadata, fn ->
      Request.run(netns, timeout, &Native.open(netns, domain, type, protocol, &1))
    end)
  end
end
