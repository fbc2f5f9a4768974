defmodule Nlns.Request do
  @moduledoc """
  An open that is under way; see `Nlns.open_in_netns_async/2`.

  `ref` is the reference in the one message that answers it. Only `owner`, the process that made the
  request, can `Nlns.await/2` or `Nlns.cancel/1` it. The other fields are private.
  """

  @enforce_keys [:ref, :owner, :resource]
  defstruct @enforce_keys ++ [:place]

  @type t :: %__MODULE__{
          ref: reference(),
          owner: pid(),
          # nil for a request that was refused at once
          resource: Nlns.Native.resource() | nil,
          # what Nlns.Native.open/5 takes, to tell of a refusal
          place: binary() | pos_integer() | nil
        }

  defimpl Inspect do
    def inspect(%{ref: ref}, _opts), do: "#Nlns.Request<#{Kernel.inspect(ref)}>"
  end
end
