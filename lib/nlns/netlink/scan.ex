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

  @doc "Returns the attributes of the types at the heads of these tuples, or all, from the last to the first."
  @spec last_to_first(binary(), :all | [tuple()]) :: [found()]
  def last_to_first(attributes, wanted), do: scan(attributes, wanted, byte_size(attributes), [])

  defp find(<<length::native-16, type::native-16, rest::binary>>, wanted, total)
       when length >= 4 do
    size = length - 4
    padding = -length &&& 3

    case rest do
      <<bytes::binary-size(size), _::binary>> when (type &&& @mask) == wanted -> {type, bytes}
      <<_::binary-size(size), _::binary-size(padding), rest::binary>> -> find(rest, wanted, total)
      <<_::binary-size(size), _::binary>> -> nil
      _ -> malformed!(total - byte_size(rest) - 4)
    end
  end

  defp find(<<>>, _wanted, _total), do: nil
  defp find(rest, _wanted, total), do: malformed!(total - byte_size(rest))

  defp scan(<<length::native-16, type::native-16, rest::binary>>, wanted, total, found)
       when length >= 4 do
    size = length - 4
    padding = -length &&& 3

    case rest do
      <<bytes::binary-size(size), _::binary-size(padding), rest::binary>> ->
        scan(rest, wanted, total, keep(wanted, type, bytes, found))

      <<bytes::binary-size(size), _::binary>> ->
        keep(wanted, type, bytes, found)

      _ ->
        malformed!(total - byte_size(rest) - 4)
    end
  end

  defp scan(<<>>, _wanted, _total, found), do: found
  defp scan(rest, _wanted, total, _found), do: malformed!(total - byte_size(rest))

  defp keep(wanted, type, bytes, found) do
    if wanted == :all or List.keymember?(wanted, type &&& @mask, 0),
      do: [{type, bytes} | found],
      else: found
  end

  @spec malformed!(non_neg_integer()) :: no_return()
  defp malformed!(offset), do: raise(DecodeError, reason: {:malformed, offset})
end
