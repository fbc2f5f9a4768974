defmodule Nlns.Netlink.MessageTest do
  use ExUnit.Case, async: true

  alias Nlns.Netlink.{Ack, Attribute, DecodeError, Message}

  doctest Message
  doctest Ack

  test "messages_follow_each_other_with_padding" do
    messages = for n <- 0..9, do: %Message{type: 100 + n, payload: String.duplicate("x", n)}
    binary = Message.encode(messages)
    assert rem(byte_size(binary), 4) == 0
    assert Message.decode(binary) == {:ok, messages}
  end

  test "last_message_may_lack_its_padding" do
    padded = Message.encode(%Message{type: 16, payload: "abcde"})

    for cut <- 1..3 do
      assert [%{payload: "abcde"}] =
               Message.decode!(binary_part(padded, 0, byte_size(padded) - cut))
    end

    assert {:error, {:malformed, 0}} = Message.decode(binary_part(padded, 0, 20))
  end

  test "control_messages_have_names" do
    for {name, number} <- [noop: 1, error: 2, done: 3, overrun: 4] do
      binary = Message.encode(%Message{type: name})
      assert binary == Message.encode(%Message{type: number})
      assert [%{type: ^name}] = Message.decode!(binary)
    end
  end

  # linux/netlink.h
  test "flags_have_the_kernels_numbers" do
    assert Message.flags([:request, :multi, :ack, :echo, :dump_intr, :dump_filtered]) == 0x3F
    assert Message.flags([:root, :match]) == Message.flags(:dump)
    assert Message.flags([:replace, :excl, :create, :append]) == 0xF00
    assert Message.flags([:nonrec, :bulk]) == Message.flags([:capped, :ack_tlvs])
    assert Message.flags([:request, 0x300]) == 0x301
    assert Message.flags([]) == 0
  end

  test "flag_of_two_bits_needs_both" do
    refute Message.flag?(%Message{type: 18, flags: :root}, :dump)
    assert Message.flag?(%Message{type: 18, flags: [:root, :match]}, :dump)
  end

  test "fields_out_of_range_raise" do
    for message <- [
          %Message{type: 0x10000},
          %Message{type: :link},
          %Message{type: 16, flags: :reqest},
          %Message{type: 16, flags: 0x10000},
          %Message{type: 16, seq: -1},
          %Message{type: 16, pid: 0x100000000},
          %Message{type: 16, payload: nil}
        ] do
      assert_raise ArgumentError, fn -> Message.encode(message) end
    end
  end

  test "every_cut_is_an_error_at_the_message_it_hits" do
    binary = Message.encode([%Message{type: 16, payload: "12345678"}, %Message{type: :done}])

    for size <- 0..byte_size(binary), size not in [0, 24, 40] do
      offset = if size < 24, do: 0, else: 24
      cut = binary_part(binary, 0, size)
      assert Message.decode(cut) == {:error, {:malformed, offset}}

      assert_raise DecodeError, "malformed header at byte #{offset}", fn ->
        Message.decode!(cut)
      end
    end
  end

  test "length_of_less_than_a_header_is_an_error" do
    for length <- 0..15 do
      binary = <<length::native-32, 0::96, 0::128>>
      assert Message.decode(binary) == {:error, {:malformed, 0}}
    end
  end

  test "payload_is_a_part_of_what_was_decoded" do
    binary = Message.encode(%Message{type: 16, payload: :binary.copy("x", 1000)})
    assert [%{payload: payload}] = Message.decode!(binary)
    assert :binary.referenced_byte_size(payload) == byte_size(binary)
  end

  describe "Ack" do
    @request Message.encode(%Message{type: 16, flags: [:request, :ack], seq: 9, payload: "12345"})
    @attributes [
      {1, {:string, "no"}},
      {2, {:u32, 20}},
      {3, "cookie"},
      {4, [{1, {:u32, 4}}, {4, {:u64, 1}}, {5, {:u64, 2}}]},
      {5, {:u32, 3}},
      {6, {:u32, 16}}
    ]

    test "echoed_request_precedes_the_attributes" do
      payload = <<-22::native-32, @request::binary, Attribute.encode(@attributes)::binary>>
      ack = Ack.decode!(%Message{type: :error, flags: :ack_tlvs, payload: payload})

      assert ack.errno == 22
      assert %Message{type: 16, flags: 5, seq: 9, payload: "12345"} = ack.request
      assert {ack.message, ack.offset, ack.cookie} == {"no", 20, "cookie"}
      assert ack.policy == %{type: 4, min_value_u: 1, max_value_u: 2}
      assert {ack.miss_type, ack.miss_nest} == {3, 16}
    end

    test "capped_request_is_its_header_only" do
      <<header::binary-16, _::binary>> = @request
      payload = <<-22::native-32, header::binary, Attribute.encode(@attributes)::binary>>
      ack = Ack.decode!(%Message{type: :error, flags: [:capped, :ack_tlvs], payload: payload})
      assert {ack.errno, ack.request.payload, ack.message} == {22, "", "no"}
    end

    test "success_without_flags_has_a_bare_header" do
      <<header::binary-16, _::binary>> = @request
      ack = Ack.decode!(%Message{type: :error, payload: <<0::32, header::binary>>})
      assert %Ack{errno: 0, message: nil, request: %Message{seq: 9, payload: ""}} = ack
    end

    test "bytes_without_the_flag_are_no_attributes" do
      <<header::binary-16, _::binary>> = @request
      text = Attribute.encode(@attributes)
      payload = <<-22::native-32, header::binary, text::binary>>
      ack = Ack.decode!(%Message{type: :error, flags: :capped, payload: payload})
      assert {ack.errno, ack.message, ack.policy} == {22, nil, nil}
    end

    test "end_of_a_dump_may_carry_an_error" do
      assert Ack.decode!(%Message{type: :done, payload: <<0::32>>}) == %Ack{}

      text = Attribute.encode([{1, {:string, "no"}}])
      done = %Message{type: :done, flags: [:ack_tlvs], payload: <<-1::native-32, text::binary>>}
      assert %Ack{errno: 1, message: "no", request: nil} = Ack.decode!(done)
    end

    test "broken_acknowledgements_are_errors" do
      assert Ack.decode(%Message{type: 16}) == {:error, {:unexpected, 16}}
      assert Ack.decode(%Message{type: :error}) == {:error, {:malformed, 0}}
      assert Ack.decode(%Message{type: :error, payload: <<0::64>>}) == {:error, {:malformed, 4}}

      cut = <<-1::native-32, 16::native-32, 0::96, 9::native-16>>
      message = %Message{type: :error, flags: [:capped, :ack_tlvs], payload: cut}
      assert {:error, {:malformed, _}} = Ack.decode(message)
      assert_raise DecodeError, fn -> Ack.decode!(message) end
    end
  end
end
