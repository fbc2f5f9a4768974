defmodule Nlns.ProtocolsTest do
  use ExUnit.Case, async: true

  alias Nlns.Spec

  # SOL_SOCKET, SO_PROTOCOL
  @so_protocol {1, 38}

  test "each name that OTP takes is taken" do
    names = for {name, true} <- :socket.supports(:protocols), do: name
    assert :tcp in names
    for name <- [:default | names], do: assert(Spec.protocol!(name) in 0..262)
  end

  # Raw sockets take the same privileges.
  @tag netns: true
  test "a name means the number that it means to OTP" do
    # A raw socket can be had for any number but 0, if it is one of a byte.
    opened =
      for {name, true} <- :socket.supports(:protocols),
          {:ok, socket} <- [:socket.open(:inet, :raw, name)] do
        assert {:ok, number} = :socket.getopt_native(socket, @so_protocol, :integer)
        :ok = :socket.close(socket)
        assert {name, Spec.protocol!(name)} == {name, number}
      end

    # Without protocols(5) OTP knows these of itself.
    assert length(opened) >= 3
  end

  test "an unknown name raises and lists the known ones" do
    assert_raise ArgumentError, ~r/protocol of .*:tcp.* got: :tpc/, fn -> Spec.protocol!(:tpc) end
  end
end
