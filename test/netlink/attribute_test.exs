defmodule Nlns.Netlink.AttributeTest do
  use ExUnit.Case, async: true

  alias Nlns.Netlink.{Attribute, DecodeError}

  doctest Attribute
  doctest Nlns.Netlink.Value

  test "integers_of_every_size_come_back" do
    for bits <- [8, 16, 32, 64], max = Bitwise.bsl(1, bits), half = div(max, 2) do
      for {format, values, beyond} <- [
            {:"u#{bits}", [0, 1, max - 1], [-1, max]},
            {:"s#{bits}", [-half, -1, 0, half - 1], [-half - 1, half]}
          ] do
        for n <- values do
          bytes = Attribute.encode([{1, {format, n}}])
          assert byte_size(Attribute.get!(bytes, 1)) == div(bits, 8)
          assert Attribute.get!(bytes, 1, format) == n
          assert Attribute.get!(bytes, 1, if(n < 0, do: :sint, else: format)) == n
        end

        for n <- beyond do
          assert_raise ArgumentError, fn -> Attribute.encode([{1, {format, n}}]) end
        end
      end
    end
  end

  test "network_byte_order_by_format_or_flag" do
    assert Attribute.get!(Attribute.encode([{1, {:be16, 443}}]), 1) == <<443::big-16>>
    assert Attribute.get!(Attribute.encode([{1, {:be64, 443}}]), 1, :be64) == 443

    for {format, size} <- [u16: 2, u32: 4, s32: 4, u64: 8, uint: 4, sint: 4] do
      flagged = Attribute.encode([{1, {:net, {format, 443}}}])
      assert <<_::native-16, 0x4001::native-16, _::binary>> = flagged
      assert Attribute.get!(flagged, 1) == <<443::big-size(size)-unit(8)>>
      assert Attribute.get!(flagged, 1, format) == 443
      assert Attribute.get!(flagged, 1, :uint) == 443
    end
  end

  test "variable_integers_take_32_bits_or_64" do
    for {value, size} <- [
          {{:uint, 0xFFFFFFFF}, 4},
          {{:uint, 0x100000000}, 8},
          {{:sint, -0x80000000}, 4},
          {{:sint, -0x80000001}, 8}
        ] do
      bytes = Attribute.encode([{1, value}])
      assert byte_size(Attribute.get!(bytes, 1)) == size
      assert {elem(value, 0), Attribute.get!(bytes, 1, elem(value, 0))} == value
    end

    assert_raise ArgumentError, fn -> Attribute.encode([{1, {:uint, -1}}]) end
  end

  test "strings_end_at_the_first_zero_or_at_the_end" do
    assert <<9::native-16, 3::native-16, "eth0", 0, 0::24>> =
             Attribute.encode([{3, {:string, "eth0"}}])

    assert Attribute.get!(Attribute.encode([{3, "eth0"}]), 3, :string) == "eth0"
    assert Attribute.get!(Attribute.encode([{3, "eth0\0\0\0"}]), 3, :string) == "eth0"
    assert Attribute.get!(Attribute.encode([{3, ""}]), 3, :string) == ""
    assert_raise ArgumentError, fn -> Attribute.encode([{3, {:string, "a\0b"}}]) end
  end

  test "nests_carry_the_flag_and_readers_ignore_it" do
    inner = Attribute.encode([{1, {:string, "veth"}}, {2, true}])
    flagged = Attribute.encode([{18, [{1, {:string, "veth"}}, {2, true}]}])
    plain = Attribute.encode([{18, inner}])
    assert <<length::native-16, 0x8012::native-16, rest::binary>> = flagged
    assert <<^length::native-16, 18::native-16, ^rest::binary>> = plain

    for bytes <- [flagged, plain] do
      assert Attribute.decode!(bytes) == [{18, inner}]
      assert Attribute.get!(bytes, [18, 2], :flag) == true
      assert Attribute.get!(bytes, [18, 3], :flag) == nil
      assert Attribute.get!(bytes, [19, 1], :string) == nil
      assert Attribute.get!(bytes, 18, :nested) == [{1, "veth\0"}, {2, ""}]
      assert Attribute.get!(bytes, 18, kind: {1, :string}) == %{kind: "veth"}
    end
  end

  test "repeated_types_are_lists_or_the_first" do
    bytes = Attribute.encode([{1, {:u8, 1}}, {2, {:u8, 2}}, {1, {:u8, 3}}])
    assert Attribute.get!(bytes, 1, :u8) == 1
    assert Attribute.get!(bytes, 1, {:each, :u8}) == [1, 3]
    assert Attribute.get!(bytes, 9, {:each, :u8}) == []

    assert Attribute.to_map!(bytes, first: {1, :u8}, all: {1, {:each, :u8}}, raw: {2, :binary}) ==
             %{first: 1, all: [1, 3], raw: <<2>>}

    nest = Attribute.encode([{5, [{1, [{1, {:u8, 1}}]}, {2, [{1, {:u8, 2}}]}]}])
    assert Attribute.get!(nest, 5, {:list, [n: {1, :u8}]}) == [%{n: 1}, %{n: 2}]
  end

  test "value_of_another_size_is_a_mismatch" do
    bytes = Attribute.encode([{4, "abc"}])
    assert Attribute.get(bytes, 4, :u32) == {:error, {:mismatch, 4, :u32}}
    assert Attribute.to_map(bytes, mtu: {4, :u32}) == {:error, {:mismatch, 4, :u32}}

    assert_raise DecodeError, "attribute 4 holds no :u32", fn ->
      Attribute.get!(bytes, 4, :u32)
    end

    assert_raise ArgumentError, fn -> Attribute.get(bytes, 4, :u24) end
  end

  test "get_reads_no_further_than_it_must" do
    bytes = Attribute.encode([{1, {:u8, 1}}]) <> <<0, 0>>
    assert Attribute.get(bytes, 1, :u8) == {:ok, 1}
    assert Attribute.get(bytes, 2, :u8) == {:error, {:malformed, 8}}
    assert Attribute.decode(bytes) == {:error, {:malformed, 8}}
  end

  test "every_cut_is_an_error_at_the_attribute_it_hits" do
    bytes = Attribute.encode([{1, "abcdefgh"}, {2, "ab"}])

    # Where the first ends, and where only the last one's padding is missing.
    for size <- 0..byte_size(bytes), size not in [0, 12, 18, 19, 20] do
      error = {:error, {:malformed, if(size < 12, do: 0, else: 12)}}
      cut = binary_part(bytes, 0, size)
      assert Attribute.decode(cut) == error
      assert Attribute.get(cut, 3) == error
      assert Attribute.to_map(cut, x: {3, :binary}) == error
    end
  end

  test "last_attribute_may_lack_its_padding" do
    padded = Attribute.encode([{1, "abcd"}, {2, "x"}])

    for cut <- 1..3 do
      bytes = binary_part(padded, 0, byte_size(padded) - cut)
      assert Attribute.decode!(bytes) == [{1, "abcd"}, {2, "x"}]
      assert Attribute.get!(bytes, 2) == "x"
      assert Attribute.get!(bytes, 3) == nil
      assert Attribute.to_map!(bytes, x: {2, :binary}) == %{x: "x"}
    end
  end

  test "length_of_less_than_a_header_is_an_error" do
    for length <- 0..3 do
      assert Attribute.decode(<<length::native-16, 1::native-16, 0::32>>) ==
               {:error, {:malformed, 0}}
    end
  end

  test "arguments_that_are_no_attributes_raise" do
    too_long = :binary.copy(<<0>>, 65_532)

    for attribute <- [
          {0x4000, ""},
          {-1, ""},
          {1, 1500},
          {1, nil},
          {1, too_long},
          {1, {:net, "x"}},
          5
        ] do
      assert_raise ArgumentError, fn -> Attribute.encode([attribute]) end
    end

    assert byte_size(Attribute.encode([{1, binary_part(too_long, 0, 65_531)}])) == 65_536
  end

  test "values_are_parts_of_the_binary" do
    bytes = Attribute.encode([{1, [{2, :binary.copy("x", 500)}]}])

    for value <- [Attribute.get!(bytes, [1, 2]), Attribute.get!(bytes, [1, 2], :string)] do
      assert :binary.referenced_byte_size(value) == byte_size(bytes)
    end
  end
end
