defmodule NetnsAgent.Json do
  @moduledoc "The little JSON that the agent speaks, without a dependency."

  alias NetnsAgent.Escape

  @doc """
  Maps, lists, strings, numbers, atoms.

      iex> IO.iodata_to_binary(NetnsAgent.Json.encode(%{a: [1, nil, "x"], b: 0.5}))
      ~S({"a":[1,null,"x"],"b":0.5})
  """
  @spec encode(term()) :: iodata()
  def encode(nil), do: "null"
  def encode(boolean) when is_boolean(boolean), do: Atom.to_string(boolean)
  def encode(atom) when is_atom(atom), do: atom |> Atom.to_string() |> Escape.json()
  def encode(text) when is_binary(text), do: Escape.json(text)
  def encode(n) when is_integer(n), do: Integer.to_string(n)
  def encode(n) when is_float(n), do: Float.to_string(n)
  def encode(list) when is_list(list), do: ["[", list |> Enum.map(&encode/1) |> commas(), "]"]

  def encode(map) when is_map(map) do
    pairs =
      for {key, value} <- Enum.sort(map), do: [Escape.json(to_string(key)), ":", encode(value)]

    ["{", commas(pairs), "}"]
  end

  defp commas(items), do: Enum.intersperse(items, ",")
end
