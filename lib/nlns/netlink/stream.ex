defmodule Nlns.Netlink.Stream do
  @moduledoc false
  # Exchanges in many namespaces, a bounded number at a time, by the process that takes the elements.

  alias Nlns.{Arguments, Netlink, Request}
  alias Nlns.Netlink.Exchange

  @defaults [max_in_flight: 64, ordered: true]
  @largest 100_000

  # `next` continues the enumeration of namespaces, and is nil when that has ended or raised.
  # `flights` are the exchanges under way, by reference; `order` has their references, the oldest first, and in
  # an unordered stream also those of others that are over.
  @enforce_keys [:next, :exchange, :most, :ordered]
  defstruct @enforce_keys ++ [flights: %{}, order: :queue.new()]

  @spec new!(Enumerable.t(), Netlink.protocol(), Netlink.request(), keyword()) :: Enumerable.t()
  def new!(netnss, protocol, request, opts) do
    opts = Arguments.options!(opts, @defaults ++ Exchange.defaults())
    {own, opts} = Keyword.split(opts, Keyword.keys(@defaults))
    exchange = Exchange.new!(protocol, request, opts)
    most = max_in_flight!(own[:max_in_flight])
    ordered = ordered!(own[:ordered])

    start = fn ->
      next = &Enumerable.reduce(netnss, &1, fn netns, _ -> {:suspend, {:netns, netns}} end)
      %__MODULE__{next: next, exchange: exchange, most: most, ordered: ordered}
    end

    Stream.resource(start, &step/1, &stop/1)
  end

  # One exchange begun or one element taken at a time: the state that `stop/1` gets knows of all that is under way.
  defp step(%{next: {kind, reason, stacktrace}}), do: :erlang.raise(kind, reason, stacktrace)

  defp step(%{next: next, flights: flights, most: most} = state)
       when is_function(next) and map_size(flights) < most do
    case continue(next) do
      {:suspended, {:netns, netns}, next} -> {[], begin(%{state | next: next}, netns)}
      {:raised, raised} -> {[], %{state | next: raised}}
      # Some end with their last element, Stream.take/2 for one.
      {_done_or_halted, {:netns, netns}} -> {[], begin(%{state | next: nil}, netns)}
      {_done_or_halted, nil} -> {[], %{state | next: nil}}
    end
  end

  defp step(%{flights: flights} = state) when flights == %{}, do: {:halt, state}

  defp step(%{ordered: true} = state) do
    {{:value, ref}, order} = :queue.out(state.order)
    await(%{state | order: order}, ref)
  end

  defp step(%{flights: flights} = state) do
    {oldest, order} = oldest(state.order, flights)
    state = %{state | order: order}

    receive do
      {:nlns, ref, answer} when is_map_key(flights, ref) ->
        {{netns, request, _}, flights} = Map.pop!(flights, ref)
        {[{netns, Request.answered(request, answer)}], %{state | flights: flights}}
    after
      left(flights[oldest]) -> await(state, oldest)
    end
  end

  defp continue(next) do
    next.({:cont, nil})
  catch
    kind, reason -> {:raised, {kind, reason, __STACKTRACE__}}
  end

  defp begin(state, netns) do
    %{ref: ref, timeout: timeout} =
      request = state.exchange |> Exchange.in_netns!(netns) |> Exchange.start()

    flights = Map.put(state.flights, ref, {netns, request, deadline(timeout)})
    %{state | flights: flights, order: :queue.in(ref, state.order)}
  end

  defp await(state, ref) do
    {{netns, request, _} = flight, flights} = Map.pop!(state.flights, ref)
    {[{netns, Request.await(request, left(flight))}], %{state | flights: flights}}
  end

  # All have the same timeout, so the oldest times out first.
  defp oldest(order, flights) do
    {:value, ref} = :queue.peek(order)
    if is_map_key(flights, ref), do: {ref, order}, else: oldest(:queue.drop(order), flights)
  end

  defp deadline(:infinity), do: :infinity
  defp deadline(timeout), do: now() + timeout

  defp left({_netns, _request, :infinity}), do: :infinity
  defp left({_netns, _request, deadline}), do: max(deadline - now(), 0)

  defp now, do: System.monotonic_time(:millisecond)

  defp stop(state) do
    for {ref, {_netns, request, _deadline}} <- state.flights,
        do: Request.cancel(ref, request.resource)

    if is_function(state.next), do: state.next.({:halt, nil})
  end

  defp max_in_flight!(most) when most in 1..@largest, do: most

  defp max_in_flight!(other) do
    raise ArgumentError, "expected a max_in_flight of 1 to #{@largest}, got: #{inspect(other)}"
  end

  defp ordered!(ordered) when is_boolean(ordered), do: ordered

  defp ordered!(other) do
    raise ArgumentError, "expected true or false for ordered, got: #{inspect(other)}"
  end
end
