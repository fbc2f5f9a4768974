defmodule Nlns.Close do
  @moduledoc false
  # Closes descriptors before the call returns. A thread of nlns does what takes the kernel long, and only the
  # caller waits, as long as close(2) does.

  alias Nlns.Native

  @doc "Closes a descriptor that was issued as a number."
  @spec fd(non_neg_integer()) :: :ok
  def fd(fd) do
    ref = make_ref()

    with :pending <- Native.close_fd(fd, ref) do
      receive do
        {:nlns, ^ref, :closed} -> :ok
      end
    end
  end

  @doc "Closes the descriptor of a resource."
  @spec resource(Native.resource()) :: :ok
  def resource(resource) do
    ref = make_ref()

    with :pending <- Native.close(resource, ref) do
      receive do
        {:nlns, ^ref, :closed} -> :ok
      end
    end
  end

  @doc """
  Cancels a request, closes the descriptor that was on its way, and returns whether that was before, during
  or after the sending of its message.
  """
  @spec cancel(Native.resource()) :: :before | :during | :after
  def cancel(resource) do
    ref = make_ref()

    with {:pending, phase} <- Native.cancel(resource, ref) do
      receive do
        {:nlns, ^ref, :closed} -> phase
      end
    end
  end
end
