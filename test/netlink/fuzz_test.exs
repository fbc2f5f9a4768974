defmodule Nlns.Netlink.FuzzTest do
  # Random and hostile bytes. The seed is the one that ExUnit prints: `mix test --seed SEED` repeats a run.
  use ExUnit.Case, async: true

  import Nlns.Patience

  alias Nlns.Netlink.{Ack, Attribute, Message}

  @rounds 2_000
  @integers for sign <- ~w(u s), bits <- [8, 16, 32, 64], do: :"#{sign}#{bits}"
  @formats [:binary, :string, :flag, :uint, :sint, :be16, :be32, :be64, :nested | @integers]

  setup %{line: line} do
    :rand.seed(:exsss, {ExUnit.configuration()[:seed], line, 0})
    :ok
  end

  test "what_was_encoded_comes_back" do
    for _ <- 1..@rounds do
      messages = many(fn -> message(binary(40)) end)
      assert messages |> Message.encode() |> Message.decode!() == messages

      attributes = many(fn -> {pick(0..0x3FFF), binary(40)} end)
      assert attributes |> Attribute.encode() |> Attribute.decode!() == attributes
    end
  end

  test "nests_come_back_at_any_depth" do
    for _ <- 1..@rounds do
      tree = tree(4)
      assert tree |> Attribute.encode() |> grow(tree) == tree
    end
  end

  test "mutated_messages_decode_or_are_malformed" do
    for _ <- 1..@rounds do
      bytes = many(fn -> message(binary(20)) end) |> Message.encode() |> mutate()

      case Message.decode(bytes) do
        {:ok, messages} ->
          again = Message.encode(messages)
          assert (byte_size(again) - byte_size(bytes)) in 0..3
          assert Message.decode!(again) == messages

        {:error, {:malformed, offset}} ->
          assert rem(offset, 4) == 0 and offset < byte_size(bytes)
          # All before it is whole.
          assert {:ok, _} = Message.decode(binary_part(bytes, 0, offset))
      end
    end
  end

  test "mutated_attributes_decode_or_are_malformed" do
    for _ <- 1..@rounds do
      bytes = tree(3) |> Attribute.encode() |> mutate()

      case Attribute.decode(bytes) do
        {:ok, attributes} ->
          assert attributes |> Attribute.encode() |> Attribute.decode!() == attributes
          assert_readers_agree(bytes, attributes)

        {:error, {:malformed, offset}} ->
          assert rem(offset, 4) == 0 and offset < byte_size(bytes)
          before = Attribute.decode!(binary_part(bytes, 0, offset))
          for {type, _} <- before, do: assert({:ok, <<_::binary>>} = Attribute.get(bytes, type))
          assert {:error, {:malformed, ^offset}} = Attribute.to_map(bytes, x: {7, :binary})
      end
    end
  end

  test "every_format_reads_or_refuses_every_value" do
    for _ <- 1..@rounds do
      bytes = tree(3) |> Attribute.encode() |> mutate()
      format = format(3)

      case Attribute.get(bytes, many(fn -> pick(0..3) end, 1), format) do
        {:ok, _} -> :ok
        {:error, {:malformed, offset}} -> assert offset <= byte_size(bytes)
        {:error, {:mismatch, type, _format}} -> assert type in 0..0x3FFF
      end
    end
  end

  test "mutated_acknowledgements_decode_or_are_refused" do
    request = Message.encode(%Message{type: 16, payload: "12345"})
    text = Attribute.encode([{1, {:string, "no"}}, {2, {:u32, 16}}, {4, [{1, {:u32, 1}}]}])

    for _ <- 1..@rounds do
      payload = mutate(<<-1::native-32, request::binary, text::binary>>)
      message = %Message{type: pick([:error, :done]), flags: pick(0..0xFFFF), payload: payload}

      case Ack.decode(message) do
        {:ok, ack} -> assert ack.errno in 0..0x80000000
        {:error, {kind, _}} -> assert kind == :malformed
        {:error, {:mismatch, type, _format}} -> assert type in 0..12
      end
    end
  end

  test "work_grows_with_the_bytes_and_no_faster" do
    tiny = <<4::native-16, 1::native-16>>
    header = <<16::native-32, 0::96>>

    for {what, fun, unit} <- [
          {"messages", &Message.decode/1, header},
          {"attributes", &Attribute.decode/1, tiny},
          {"one attribute", &Attribute.get(&1, 2), tiny},
          {"a map", &Attribute.to_map(&1, a: {1, :flag}, b: {2, :binary}), tiny},
          {"a broken end", &Attribute.decode(&1 <> <<3::native-32>>), tiny}
        ] do
      small = reductions(fun, :binary.copy(unit, 1_000))
      large = reductions(fun, :binary.copy(unit, 16_000))

      assert large < 20 * small,
             "#{what}: #{small} reductions, for 16 times as many bytes #{large}"
    end
  end

  test "depth_costs_nothing_unless_asked_for" do
    depth = 4_000
    deep = Enum.reduce(1..depth, "", fn _, inner -> Attribute.encode([{1, inner}]) end)

    assert Attribute.decode!(deep) == [{1, binary_part(deep, 4, byte_size(deep) - 4)}]
    assert Attribute.to_map!(deep, a: {1, b: {1, :flag}}) == %{a: %{b: true}}
    assert Attribute.get!(deep, List.duplicate(1, depth)) == ""
    assert Attribute.get!(deep, List.duplicate(1, depth + 1)) == nil
  end

  defp assert_readers_agree(bytes, attributes) do
    types = attributes |> Enum.map(&elem(&1, 0)) |> Enum.uniq()

    for type <- types do
      {_, first} = List.keyfind(attributes, type, 0)
      all = for {^type, value} <- attributes, do: value
      assert Attribute.get!(bytes, type) == first
      assert Attribute.get!(bytes, type, {:each, :binary}) == all

      assert Attribute.to_map!(bytes, one: {type, :binary}, all: {type, {:each, :binary}}) ==
               %{one: first, all: all}
    end
  end

  # The decoded bytes in the shape of the tree that they were.
  defp grow(bytes, tree) do
    for {{type, value}, {type, was}} <- Enum.zip(Attribute.decode!(bytes), tree) do
      {type, if(is_list(was), do: grow(value, was), else: value)}
    end
  end

  defp tree(0), do: []

  defp tree(depth) do
    many(fn ->
      value = if pick([true, false]), do: tree(depth - 1), else: binary(12)
      {pick([0, 1, 2, 3, 0x3FFF]), value}
    end)
  end

  defp message(payload) do
    %Message{
      type: pick(5..0xFFFF),
      flags: pick(0..0xFFFF),
      seq: pick(0..0xFFFFFFFF),
      pid: pick(0..0xFFFFFFFF),
      payload: payload
    }
  end

  defp format(depth), do: pick([format_of_one(depth), {:each, format_of_one(depth)}])

  defp format_of_one(0), do: pick(@formats)

  defp format_of_one(depth) do
    case pick(1..4) do
      1 -> {:list, format_of_one(depth - 1)}
      2 -> [a: {pick(0..3), format(depth - 1)}, b: {pick(0..3), format(depth - 1)}]
      _ -> pick(@formats)
    end
  end

  # Cuts, grows, or overwrites: with anything, or with what a length or a flag may be.
  defp mutate(bytes) do
    size = byte_size(bytes)
    at = pick(0..size)
    <<before::binary-size(at), behind::binary>> = bytes

    case pick(1..5) do
      1 ->
        before

      2 ->
        bytes <> binary(8)

      3 ->
        before <> binary(8) <> behind

      4 ->
        overwrite(
          bytes,
          at,
          pick([<<0>>, <<1>>, <<3>>, <<4>>, <<0xFF>>, <<0x80>>, <<0xFFFF::16>>])
        )

      5 ->
        bytes
    end
  end

  defp overwrite(bytes, at, with) do
    at = max(0, min(at, byte_size(bytes) - byte_size(with)))

    case bytes do
      <<before::binary-size(at), _::binary-size(byte_size(with)), behind::binary>> ->
        before <> with <> behind

      _ ->
        bytes
    end
  end

  # In a process whose heap is large enough, because the garbage collector's work counts as its own.
  defp reductions(fun, bytes) do
    counter = fn ->
      {:reductions, before} = Process.info(self(), :reductions)
      _ = fun.(bytes)
      {:reductions, now} = Process.info(self(), :reductions)
      exit({:counted, now - before})
    end

    {pid, ref} = :erlang.spawn_opt(counter, [:monitor, min_heap_size: 2_000_000])
    assert_receive {:DOWN, ^ref, :process, ^pid, {:counted, count}}, within()
    count
  end

  defp many(fun, least \\ 0), do: for(_ <- 1..pick(least..4)//1, do: fun.())
  defp binary(max), do: :rand.bytes(pick(0..max))
  defp pick(choices), do: Enum.random(choices)
end
