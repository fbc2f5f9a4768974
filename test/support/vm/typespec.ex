defmodule Nlns.VM.Typespec do
  @moduledoc false
  # Whether a term is of a function's specified result, for as much of the type language as nlns uses.
  # A type that is not known here raises: better than to let everything pass.

  @doc "The specs of a function, from its module's code: `{types of the arguments, {module, type}}`."
  def specs(module, name, arity) do
    {:ok, specs} = Code.Typespec.fetch_specs(module)

    for {{^name, ^arity}, clauses} <- specs,
        {:type, _, :fun, [{:type, _, :product, args}, result]} <- clauses,
        do: {args, {module, result}}
  end

  @doc "Whether `term` is one of them."
  def one_of?(term, results),
    do: Enum.any?(results, fn {module, type} -> is?(term, type, module) end)

  defp is?(term, {:ann_type, _, [_, type]}, m), do: is?(term, type, m)
  defp is?(term, {:atom, _, atom}, _), do: term === atom
  defp is?(term, {:integer, _, integer}, _), do: term === integer
  defp is?(_, {:type, _, kind, _}, _) when kind in [:any, :term], do: true
  defp is?(_, {:type, _, :no_return, _}, _), do: false
  defp is?(term, {:type, _, :atom, _}, _), do: is_atom(term)
  defp is?(term, {:type, _, :boolean, _}, _), do: is_boolean(term)
  defp is?(term, {:type, _, :integer, _}, _), do: is_integer(term)
  defp is?(term, {:type, _, :non_neg_integer, _}, _), do: is_integer(term) and term >= 0
  defp is?(term, {:type, _, :pos_integer, _}, _), do: is_integer(term) and term > 0
  defp is?(term, {:type, _, :reference, _}, _), do: is_reference(term)
  defp is?(term, {:type, _, :pid, _}, _), do: is_pid(term)
  defp is?(term, {:type, _, :binary, _}, _), do: is_binary(term)

  defp is?(term, {:remote_type, _, [{:atom, _, String}, {:atom, _, :t}, _]}, _),
    do: String.valid?(term)

  defp is?(term, {:type, _, :timeout, _}, _),
    do: term == :infinity or (is_integer(term) and term >= 0)

  defp is?(term, {:type, _, :map, :any}, _), do: is_map(term)

  defp is?(term, {:type, _, :list, [type]}, m),
    do: is_list(term) and Enum.all?(term, &is?(&1, type, m))

  defp is?(term, {:type, _, :list, []}, _), do: is_list(term)
  defp is?(term, {:type, _, :tuple, :any}, _), do: is_tuple(term)
  defp is?(term, {:type, _, :union, types}, m), do: Enum.any?(types, &is?(term, &1, m))

  defp is?(term, {:type, _, :tuple, types}, m) do
    is_tuple(term) and tuple_size(term) == length(types) and
      Enum.all?(Enum.zip(Tuple.to_list(term), types), fn {part, type} -> is?(part, type, m) end)
  end

  # A map with named keys: each of those that the type requires.
  defp is?(term, {:type, _, :map, fields}, m) do
    is_map(term) and
      Enum.all?(fields, fn
        {:type, _, :map_field_exact, [{:atom, _, key}, type]} ->
          is_map_key(term, key) and is?(Map.get(term, key), type, m)

        _optional ->
          true
      end)
  end

  # A charlist is not spelled out: who wrote `charlist()` means text.
  defp is?(term, {:remote_type, _, [_, {:atom, _, :charlist}, _]}, _), do: is_list(term)

  defp is?(term, {:remote_type, _, [{:atom, _, module}, {:atom, _, name}, args]}, _) do
    is?(term, definition(module, name, args), module)
  end

  defp is?(term, {:user_type, _, name, args}, m), do: is?(term, definition(m, name, args), m)

  @doc "What a type of `module` stands for. Looked up once, because all of the module is read for it."
  def definition(module, name, []) do
    key = {__MODULE__, module, name}
    with nil <- :persistent_term.get(key, nil), do: remember(key, read(module, name))
  end

  defp read(module, name) do
    {:ok, types} = Code.Typespec.fetch_types(module)
    [type] = for {_, {^name, type, []}} <- types, do: type
    type
  end

  defp remember(key, type) do
    :persistent_term.put(key, type)
    type
  end
end
