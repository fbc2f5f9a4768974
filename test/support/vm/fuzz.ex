defmodule Nlns.VM.Fuzz do
  @moduledoc false
  # Random terms for every function there is. What a call may do is what its spec says, or raise
  # ArgumentError; a caller that waits too long is killed, which is a case of its own.

  import Nlns.Patience
  alias Nlns.VM.{Terms, Typespec}

  # Nothing here waits for long; the machine may be busy.
  @bound 10_000
  @workers 4
  # Far fewer than a process may have, or all that there is to see is EMFILE.
  @max_fds 100

  @doc "Every exported function, as `{module, name, types of the arguments, types of the result}`."
  def functions(module) do
    for {name, arity} <- module.__info__(:functions), name != :__struct__ do
      # Defaults make functions without a spec of their own.
      specs = Enum.find_value(arity..(arity + 2), [], &some(Typespec.specs(module, name, &1)))
      if specs == [], do: raise("no spec for #{inspect(module)}.#{name}/#{arity}")

      {module, name, Enum.map(specs, &Enum.take(elem(&1, 0), arity)),
       Enum.map(specs, &elem(&1, 1))}
    end
  end

  defp some([]), do: nil
  defp some(specs), do: specs

  @doc "Calls them `rounds` times; what they did that they may not, and which ever returned a value."
  def run(functions, paths, seed, rounds) do
    functions = List.to_tuple(functions)

    1..@workers
    |> Enum.map(fn n ->
      Task.async(fn ->
        :rand.seed(:exsss, {seed, n, 0})
        Process.flag(:trap_exit, true)
        known = %{paths: paths, seen: [], fds: [], caller: start_caller()}
        work(functions, known, div(rounds, @workers), {%{}, MapSet.new()})
      end)
    end)
    |> Task.await_many(:infinity)
    |> Enum.reduce(fn {a, b}, {c, d} -> {Map.merge(a, c), MapSet.union(b, d)} end)
  end

  defp work(_functions, known, 0, result) do
    Process.exit(known.caller, :kill)
    close(known.fds)
    result
  end

  defp work(functions, known, rounds, {wrong, reached}) do
    {module, name, types, results} = elem(functions, :rand.uniform(tuple_size(functions)) - 1)
    types = Enum.random(types)

    # Mostly as specified but for one argument, so that the call gets further than to look at them.
    odd = :rand.uniform(2 * length(types) + 1)

    args =
      for {type, n} <- Enum.with_index(types, 1) do
        if n == odd, do: Terms.term(3), else: Terms.of(type, module, known)
      end

    {outcome, known} = call(known, module, name, args)

    wrong =
      if allowed?(outcome, name, args, results),
        do: wrong,
        else: blame(wrong, module, name, args, outcome)

    reached =
      if is_tuple(outcome) and elem(outcome, 0) == :value,
        do: MapSet.put(reached, {module, name}),
        else: reached

    work(functions, known |> learn(found(outcome)) |> own(outcome), rounds - 1, {wrong, reached})
  end

  # One of each kind, and as text: a term would keep its sockets open.
  defp blame(wrong, module, name, args, outcome) do
    kind = with {:raised, %{__struct__: error}} <- outcome, do: error
    text = inspect({module, name, args, outcome}, limit: 20, printable_limit: 100)
    Map.put_new(wrong, {module, name, inspect(kind)}, text)
  end

  # What came back is the best argument for other functions.
  defp learn(known, terms), do: %{known | seen: Enum.take(terms ++ known.seen, 40)}

  defp found({:value, {:ok, a}}), do: [a]
  defp found({:value, {:ok, a, b}}), do: [a, b]
  defp found({:value, {:pending, a}}), do: [a]
  defp found({:value, %struct{} = term}) when struct in [Nlns.Request, Nlns.Handle], do: [term]
  defp found(_), do: []

  # Descriptors that come as numbers are the caller's to close.
  defp own(known, {:value, {:ok, fd}}) when is_integer(fd), do: own(known, {:value, fd})

  defp own(known, {:value, fd}) when is_integer(fd) do
    {keep, rest} = Enum.split([fd | known.fds], @max_fds)
    close(rest)
    %{known | fds: keep}
  end

  defp own(known, _), do: known

  defp close(fds), do: Enum.map(fds, &(:ok = Nlns.close_fd(&1)))

  defp allowed?({:value, value}, _name, _args, results), do: Typespec.one_of?(value, results)
  defp allowed?(:killed, _name, args, _results), do: may_wait?(args)

  defp allowed?({:raised, error}, name, _args, _results) do
    is_struct(error, ArgumentError) or
      (is_struct(error, Nlns.Error) and String.ends_with?(to_string(name), "!"))
  end

  # For the answer of a request that somebody else made, or nobody.
  defp may_wait?(args), do: Enum.any?(args, &is_struct(&1, Nlns.Request))

  # By a process that makes all of a worker's calls, until one of them takes too long.
  defp call(known, module, name, args) do
    %{caller: caller} = known
    send(caller, {:call, self(), module, name, args})

    receive do
      {^caller, outcome, handles} -> {outcome, learn(known, handles)}
      {:EXIT, ^caller, reason} -> {{:raised, reason}, %{known | caller: start_caller()}}
    after
      if(may_wait?(args), do: 5, else: within(@bound)) ->
        Process.exit(caller, :kill)
        receive do: ({:EXIT, ^caller, _} -> :ok)
        known = %{known | caller: start_caller()}
        receive do: ({^caller, outcome, _} -> {outcome, known}), after: (0 -> {:killed, known})
    end
  end

  defp start_caller, do: spawn_link(&serve/0)

  defp serve do
    receive do
      {:call, from, module, name, args} ->
        outcome = attempt(module, name, args)
        send(from, {self(), outcome, handles()})
    end

    serve()
  end

  # Most answers are left unread for a while.
  defp handles do
    case Process.info(self(), :message_queue_len) do
      {_, 0} -> []
      {_, length} when length > 20 -> for _ <- 1..length, handle <- next(), do: handle
      _ -> if :rand.uniform(4) == 1, do: next(), else: []
    end
  end

  defp next do
    receive do
      {:nlns, _, {:ok, %Nlns.Handle{} = handle}} -> [handle]
      {:nlns, _, _} -> []
    after
      0 -> []
    end
  end

  defp attempt(module, name, args) do
    {:value, apply(module, name, args)}
  rescue
    error -> {:raised, error}
  catch
    kind, reason -> {:raised, {kind, reason}}
  end
end
