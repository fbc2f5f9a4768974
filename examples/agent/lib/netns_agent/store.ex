defmodule NetnsAgent.Store do
  @moduledoc """
  What is known now: the namespaces with their last samples, and the agent's own numbers.

  Tables in memory, written by those who find out and read by those who show it, without a process in
  between.
  """

  alias NetnsAgent.{Discovery.Namespace, Sample}

  @namespaces __MODULE__.Namespaces
  @numbers __MODULE__.Numbers
  @options [:named_table, :public, :ordered_set, read_concurrency: true]

  @typedoc "After what became of the last reading; `:fresh` if there is none."
  @type lane :: :fresh | :healthy | :failing

  @type row :: {Namespace.t(), Sample.t() | nil}

  @doc "Makes the tables. They go with the calling process, which is the one that starts the application."
  @spec new() :: :ok
  def new, do: Enum.each([@namespaces, @numbers], &:ets.new(&1, @options))

  @doc "Keeps a namespace: `:known` with its sample, `:new` without one, also if its id was another's."
  @spec put(Namespace.t()) :: :new | :known
  def put(%Namespace{id: id, identity: identity} = namespace) do
    case fetch(id) do
      {:ok, {%{identity: ^identity}, _sample}} ->
        :ets.update_element(@namespaces, id, {2, namespace})
        :known

      _ ->
        :ets.insert(@namespaces, {id, namespace, nil, :fresh})
        :new
    end
  end

  @doc "Keeps a sample, if its namespace has not gone in the meantime."
  @spec put_sample(String.t(), Sample.t()) :: boolean()
  def put_sample(id, sample) do
    lane = if sample.error, do: :failing, else: :healthy
    :ets.update_element(@namespaces, id, [{3, sample}, {4, lane}])
  end

  @spec delete(String.t()) :: true
  def delete(id), do: :ets.delete(@namespaces, id)

  @spec fetch(String.t()) :: {:ok, row()} | :error
  def fetch(id) do
    case :ets.lookup(@namespaces, id) do
      [{_id, namespace, sample, _lane}] -> {:ok, {namespace, sample}}
      [] -> :error
    end
  end

  @doc "Every namespace with its last sample, by id."
  @spec all() :: [row()]
  def all, do: :ets.select(@namespaces, [{{:_, :"$1", :"$2", :_}, [], [{{:"$1", :"$2"}}]}])

  @doc "Every namespace in this lane, or in any: without its sample, which takes longer to copy."
  @spec namespaces(lane() | :_) :: [Namespace.t()]
  def namespaces(lane \\ :_), do: :ets.select(@namespaces, [{{:_, :"$1", :_, lane}, [], [:"$1"]}])

  @doc "Adds to a number, which begins at 0."
  @spec count(term(), integer()) :: integer()
  def count(key, n \\ 1), do: :ets.update_counter(@numbers, key, n, {key, 0})

  @spec set(term(), number()) :: true
  def set(key, value), do: :ets.insert(@numbers, {key, value})

  @spec get(term()) :: number() | nil
  def get(key) do
    with [{_key, value}] <- :ets.lookup(@numbers, key), do: value, else: ([] -> nil)
  end

  @doc "The numbers whose key is `{name, label}`, by label."
  @spec labelled(atom()) :: [{term(), number()}]
  def labelled(name), do: for({{^name, label}, n} <- :ets.tab2list(@numbers), do: {label, n})
end
