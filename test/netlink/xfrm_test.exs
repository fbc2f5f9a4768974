defmodule Nlns.Netlink.XfrmTest do
  # The policies and states of IPsec through nlns are those of `ip xfrm`, which knows no JSON: linux/xfrm.h.
  use Nlns.NetnsCase

  import Nlns.Compare

  @getsa 0x12
  @getpolicy 0x15
  @directions {"in", "out", "fwd"}
  @esp 50

  setup do
    {:ok, path: netns()}
  end

  test "policies_are_those_of_ip", %{path: path} do
    run_all!(path, """
    ip xfrm policy add src 10.0.0.0/24 dst 10.0.1.0/24 dir out priority 5 tmpl src 192.0.2.1 dst 192.0.2.2 proto esp mode tunnel
    ip xfrm policy add src 10.0.1.0/24 dst 10.0.0.0/25 dir in priority 7 action block
    ip xfrm policy add src 2001:db8::/32 dst 2001:db8:1::/48 dir fwd priority 9
    """)

    theirs =
      for [_, source, target, direction, priority] <-
            Regex.scan(
              ~r/^src (\S+) dst (\S+) \n\s+dir (\S+)(?: action block)? priority (\d+)/m,
              run!(path, "ip", ~w(xfrm policy))
            ),
          do: {source, target, direction, String.to_integer(priority)}

    assert length(theirs) == 3
    assert Enum.sort(policies(path)) == Enum.sort(theirs)
  end

  test "states_are_those_of_ip", %{path: path} do
    add =
      "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x123 reqid 7 mode transport" <>
        " auth digest_null '' enc cipher_null ''"

    if supported?(path, add) do
      states = run!(path, "ip", ~w(xfrm state))

      assert [[_, source, target, spi, reqid]] =
               Regex.scan(
                 ~r/src (\S+) dst (\S+)\n\s+proto esp spi 0x(\S+) reqid (\d+)/,
                 states
               )

      assert states(path) ==
               [{source, target, String.to_integer(spi, 16), String.to_integer(reqid)}]
    else
      Nlns.LeftOut.part("states of IPsec, because this kernel has no ESP (CONFIG_INET_ESP)")

      # What it has is a dump that ends.
      assert states(path) == []
    end
  end

  # struct xfrm_userpolicy_info; struct xfrm_selector comes first
  defp policies(path) do
    for <<selector::binary-56, _lifetimes::96-unit(8), priority::native-32, _index::32, direction,
          _::binary>> <- dump(path, :xfrm, @getpolicy, "") do
      <<to::binary-16, from::binary-16, _ports::64, family::native-16, to_length, from_length,
        _::binary>> = selector

      {prefix(from, family, from_length), prefix(to, family, to_length),
       elem(@directions, direction), priority}
    end
  end

  # struct xfrm_usersa_info: selector, id, source, lifetimes, stats, seq, reqid
  defp states(path) do
    for <<_selector::binary-56, to::binary-4, _::binary-12, spi::big-32, @esp, _::24,
          from::binary-4, _::binary-12, _lifetimes::96-unit(8), _stats::12-unit(8), _seq::32,
          reqid::native-32, _::binary>> <- dump(path, :xfrm, @getsa, "") do
      {ip(from), ip(to), spi, reqid}
    end
  end

  defp prefix(<<address::binary-4, _::binary>>, 2, length), do: "#{ip(address)}/#{length}"
  defp prefix(address, 10, length), do: "#{ip(address)}/#{length}"

  defp supported?(path, command) do
    run_all!(path, command)
    true
  rescue
    error in RuntimeError ->
      assert error.message =~ "Requested type not found"
      false
  end
end
