defmodule Nlns.Netlink.DecodeError do
  @moduledoc """
  Raised for bytes that are no netlink messages or attributes, or no value of the format asked for.

  `reason` is what the function without the exclamation mark returns:

    * `{:malformed, offset}` means that a header at this offset (in bytes, from the start of what was
      decoded) is cut off, or says a length that is shorter than itself or longer than the rest.
    * `{:mismatch, type, format}` means that the attribute of this type holds no value of this format.
    * `{:unexpected, type}` means that a message of this type is no acknowledgement.
  """
  @moduledoc since: "0.1.0"

  @type reason ::
          {:malformed, offset :: non_neg_integer()}
          | {:mismatch, type :: non_neg_integer(), format :: term()}
          | {:unexpected, type :: atom() | non_neg_integer()}
  @type t :: %__MODULE__{reason: reason()}

  @enforce_keys [:reason]
  defexception @enforce_keys

  @impl true
  def message(%{reason: {:malformed, offset}}) do
    "malformed header at byte #{offset}"
  end

  def message(%{reason: {:mismatch, type, format}}) do
    "attribute #{type} holds no #{inspect(format)}"
  end

  def message(%{reason: {:unexpected, type}}) do
    "a message of type #{inspect(type)} acknowledges nothing"
  end
end
