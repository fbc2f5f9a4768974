defmodule Nlns.Netlink.Scan do
  @moduledoc false
  # Scans encoded attributes. `struct nlattr` is a length, which includes itself and no padding, and a type,
  # which shares its field with two flags. An attribute that is cut off raises `DecodeError`.

  import Bitwise

  alias Nlns.Netlink.DecodeError

  # NLA_TYPE_MASK
  @mask 0x3FFF

  @typep found :: {0..0xFFFF, binary()}

  @doc "Returns the first attribute of a type."
  @spec first(binary(), non_neg_integer()) :: found() | nil
  def first(attributes, type), do: find(attributes, type, byte_size(attributes))

  @doc "Returns all attributes, in order."
  @spec all(binary()) :: [found()]
  def all(attributes), do: attributes |> last_to_first(:all) |> Enum.reverse()

  @doc "Returns the attributes of the types that are keys of a map, or all, from the last to the first."
  @spec last_to_first(binary(), :all | %{non_neg_integer() => term()}) :: [found()]
  def last_to_first(attributes, wanted), do: scan(attributes, wanted, byte_size(attributes), [])

  defp find(
         <<length::native-16, type::native-16, bytes::binary-size(length - 4), _::binary>>,
         wanted,
         _total
       )
       when (type &&& @mask) == wanted,
       do: {type, bytes}

  defp find(
         <<length::native-16, _::16, _::binary-size(length - 4), _::binary-size(-length &&& 3),
           rest::binary>>,
         wanted,
         total
       ),
       do: find(rest, wanted, total)

  defp find(<<>>, _wanted, _total), do: nil

  defp find(<<length::native-16, _::16, _::binary-size(length - 4), _::binary>>, _wanted, _total),
    do: nil

  defp find(rest, _wanted, total), do: malformed!(total - byte_size(rest))

  # Those that nobody wants come first: to skip them makes no binary of them.
  defp scan(
         <<length::native-16, type::native-16, _::binary-size(length - 4),
           _::binary-size(-length &&& 3), rest::binary>>,
         wanted,
         total,
         found
       )
       when is_map(wanted) and not is_map_key(wanted, type &&& @mask),
       do: scan(rest, wanted, total, found)

  defp scan(
         <<length::native-16, type::native-16, bytes::binary-size(length - 4),
           _::binary-size(-length &&& 3), rest::binary>>,
         wanted,
         total,
         found
       ),
       do: scan(rest, wanted, total, [{type, bytes} | found])

  defp scan(<<>>, _wanted, _total, found), do: found

  # The last may come without its padding.
  defp scan(
         <<length::native-16, type::native-16, bytes::binary-size(length - 4), _::binary>>,
         wanted,
         _total,
         found
       ) do
    if wanted == :all or is_map_key(wanted, type &&& @mask),
      do: [{type, bytes} | found],
      else: found
  end

  defp scan(rest, _wanted, total, _found), do: malformed!(total - byte_size(rest))

  @spec malformed!(non_neg_integer()) :: no_return()
  defp malformed!(offset), do: raise(DecodeError, reason: {:malformed, offset})
end
