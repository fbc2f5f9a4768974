defmodule Nlns.Netlink.StreamTest do
  use Nlns.NetnsCase

  alias Nlns.{Links, Netlink}

  @timed_out {:error, {:thread, 110}}

  test "each_namespace_has_one_element_in_order" do
    paths = for n <- 1..5, path = netns(), do: {path, for(_ <- 1..n, do: Netns.add_link(path))}
    given = Enum.map(paths, &elem(&1, 0)) ++ ["/nowhere"]
    elements = given |> Netlink.stream(:route, Links.dump(), max_in_flight: 2) |> Enum.to_list()
    assert Enum.map(elements, &elem(&1, 0)) == given
    assert {"/nowhere", {:error, {:open, 2}}} = List.last(elements)

    for {{path, links}, {path, {:ok, messages}}} <- Enum.zip(paths, elements) do
      assert links -- Links.names(messages) == []
      assert length(messages) == 2 * length(links) + 1
    end
  end

  test "unordered_elements_come_as_the_answers_do" do
    [silent, other] = [netns(), netns()]
    # The first is answered by nothing, and holds up no other.
    request = Links.silent()
    stream = &Netlink.stream(&1, :fib_lookup, request, ordered: false, timeout: within(300))

    # A machine that stands still for so long may bring both at once.
    assert Enum.any?(1..5, fn _ ->
             answers = Enum.to_list(stream.([silent, "/nowhere"]))
             assert {silent, @timed_out} in answers
             match?([{"/nowhere", {:error, {:open, 2}}}, {^silent, _}], answers)
           end)

    assert [{^silent, @timed_out}, {^other, @timed_out}] =
             Enum.to_list(Netlink.stream([silent, other], :fib_lookup, request, timeout: 30))
  end

  test "it_is_lazy_and_bounded" do
    path = netns()
    taken = :counters.new(1, [])
    endless = Stream.repeatedly(fn -> :counters.add(taken, 1, 1) && path end)

    for ordered <- [true, false] do
      :counters.put(taken, 1, 0)
      opts = [max_in_flight: 3, ordered: ordered]
      stream = Netlink.stream(endless, :route, Links.dump(), opts)
      assert :counters.get(taken, 1) == 0
      assert [{^path, {:ok, [_]}} | _] = elements = Enum.take(stream, 10)
      assert length(elements) == 10
      assert :counters.get(taken, 1) <= 10 + 3
      refute_messages()
    end
  end

  test "many_namespaces_are_streamed_whole" do
    paths = for _ <- 1..20, do: netns()

    for ordered <- [true, false], most <- [1, 7, 1_000] do
      elements =
        paths
        |> Stream.cycle()
        |> Stream.take(500)
        |> Netlink.stream(:route, Links.dump(), ordered: ordered, max_in_flight: most)
        |> Enum.to_list()

      assert Enum.all?(elements, &match?({_, {:ok, [_]}}, &1))
      counts = elements |> Enum.frequencies_by(&elem(&1, 0)) |> Map.values()
      assert counts == List.duplicate(25, 20)
    end
  end

  test "halted_stream_cancels_what_is_under_way" do
    silent = for _ <- 1..4, do: netns()
    sockets = Proc.sockets()

    for ordered <- [true, false] do
      stream =
        Netlink.stream(["/nowhere" | silent], :fib_lookup, Links.silent(), ordered: ordered)

      assert [{"/nowhere", {:error, {:open, 2}}}] = Enum.take(stream, 1)
      eventually(fn -> assert Proc.sockets() == sockets end)
      refute_messages()
    end
  end

  test "exception_of_the_consumer_or_the_source_leaves_nothing" do
    path = netns()

    sources = [
      [path, path, :no_namespace],
      Stream.map([path, nil], &(&1 || raise("of the test")))
    ]

    sockets = Proc.sockets()

    for source <- sources, protocol <- [:route, :fib_lookup] do
      assert_raise_any(fn ->
        source |> Netlink.stream(protocol, Links.silent()) |> Stream.run()
      end)
    end

    assert_raise_any(fn ->
      for _ <- Netlink.stream([path, path], :route, Links.dump()), do: raise("of the test")
    end)

    eventually(fn -> assert Proc.sockets() <= sockets + 1 end)
  end

  test "wrong_arguments_raise_at_once" do
    for opts <- [[max_in_flight: 0], [ordered: 1], [timeout: -1], [max: 1]] do
      assert_raise ArgumentError, fn -> Netlink.stream([], :route, Links.dump(), opts) end
    end
  end

  defp assert_raise_any(fun) do
    fun.()
    flunk("expected an exception")
  rescue
    error in [RuntimeError, ArgumentError] -> error
  end
end
