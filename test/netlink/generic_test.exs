defmodule Nlns.Netlink.GenericTest do
  # The families of generic netlink through nlns are those of `genl`: linux/genetlink.h.
  use Nlns.NetnsCase

  import Nlns.Compare

  alias Nlns.Netlink
  alias Nlns.Netlink.{Attribute, Message}

  @genl_id_ctrl 16
  @ctrl_cmd_getfamily 3
  # struct genlmsghdr: command, version, reserved
  @getfamily <<@ctrl_cmd_getfamily, 1, 0::16>>

  @family [
    id: {1, :u16},
    name: {2, :string},
    version: {3, :u32},
    header: {4, :u32},
    commands: {6, {:list, [id: {1, :u32}]}},
    groups: {7, {:list, [name: {1, :string}, id: {2, :u32}]}}
  ]

  @enoent 2

  test "families_are_those_of_genl" do
    path = netns()

    ours =
      for <<_::32, attributes::binary>> <- dump(path, :generic, @genl_id_ctrl, @getfamily) do
        family = Attribute.to_map!(attributes, @family)
        Map.merge(%{commands: [], groups: []}, family)
      end

    theirs = genl(path)
    assert "nlctrl" in for(family <- theirs, do: family.name)
    assert Enum.sort(ours) == Enum.sort(theirs)
  end

  test "family_is_found_by_its_name" do
    path = netns()
    assert {:ok, [%Message{payload: <<_::32, attributes::binary>>}]} = find(path, "nlctrl")
    assert Attribute.get!(attributes, 1, :u16) == @genl_id_ctrl
    assert {:error, {:netlink, @enoent, _}} = find(path, "no-such-family")
  end

  defp find(path, name) do
    payload = [@getfamily, Attribute.encode([{2, {:string, name}}])]
    Netlink.execute(path, :generic, %Message{type: @genl_id_ctrl, payload: payload})
  end

  defp genl(path) do
    for text <- String.split(run!(path, "genl", ~w(ctrl list)), "Name: ", trim: true),
        [name, _ | _] <- [String.split(text, "\n", trim: true)] do
      [_, id, version, header] =
        Regex.run(~r/ID: 0x(\w+)\s+Version: 0x(\w+)\s+header size: (\d+)/, text)

      %{
        id: String.to_integer(id, 16),
        name: String.trim(name),
        version: String.to_integer(version, 16),
        header: String.to_integer(header),
        commands:
          for(
            [_, id] <- Regex.scan(~r/#\d+:  ID-0x(\w+) *$/m, text),
            do: %{id: String.to_integer(id, 16)}
          ),
        groups:
          for [_, id, name] <- Regex.scan(~r/#\d+:  ID-0x(\w+)  name: (\S+)/, text) do
            %{id: String.to_integer(id, 16), name: name}
          end
      }
    end
  end
end
