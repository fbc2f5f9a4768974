defmodule Nlns.Close do
  @moduledoc false
  # Closing that is over when the call returns. Where it takes the kernel its time a thread of nlns does
  # it, and only the caller waits, as long as close(2) does.

  alias Nlns.Native

  @spec fd(non_neg_integer()) :: :ok
  def fd(fd) do
    ref = make_ref()

    with :pending <- Native.close_fd(fd, ref) do
      receive do
        {:nlns, ^ref, :closed} -> :ok
      end
    end
  end

  @spec resource(Native.resource()) :: :ok
  def resource(resource) do
    ref = make_ref()

    with :pending <- Native.close(resource, ref) do
      receive do
        {:nlns, ^ref, :closed} -> :ok
      end
    end
  end
end
