defmodule Nlns.Netlink.LargeTest do
  use Nlns.NetnsCase

  alias Nlns.{Links, Netlink}

  @links 10_000

  setup do
    {:ok, path: netns()}
  end

  @tag timeout: 300_000
  test "dump_of_ten_thousand_links_takes_less_than_twice_its_bytes", %{path: path} do
    # An intermediate functional block needs no other link; they are made in one exchange.
    links = for n <- 1..@links, do: Links.add("i#{n}", "ifb")
    assert {:ok, []} = Netlink.execute(path, :route, links, timeout: within(120_000))

    {bytes, peak, kept} = Task.await(Task.async(fn -> measure(path) end), within(60_000))

    assert bytes > @links * 1_000

    # Resident memory at its peak, while it is received and handed over; and what the caller holds then.
    assert peak < 2 * bytes, "#{peak} for #{bytes} bytes"
    assert kept < 2 * bytes, "#{kept} for #{bytes} bytes"

    # The kernel holds the rtnl lock while it removes them, for a second and more, which the next test would wait for.
    peer = Netns.add_veth_to_host(path)
    assert Netns.gone_after_delete?(path, peer)
  end

  defp measure(path) do
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    timeout = within()
    before = :erlang.memory(:total)
    # What is too much takes no more than what is allowed.
    small = [timeout: timeout, max_reply: 1_000_000]
    {answer, refused} = peak(fn -> Netlink.execute(path, :route, Links.dump(), small) end)
    assert answer == {:error, {:receive, 27}}
    assert refused < 4_000_000

    {{:ok, messages}, peak} =
      peak(fn -> Netlink.execute(path, :route, Links.dump(), timeout: timeout) end)

    assert length(messages) == @links + 1
    bytes = Enum.sum(for message <- messages, do: 16 + byte_size(message.payload))
    # All are parts of one binary.
    sizes = for message <- messages, uniq: true, do: :binary.referenced_byte_size(message.payload)
    assert sizes == [bytes]
    {bytes, peak, :erlang.memory(:total) - before}
  end

  # By how much resident memory has grown at most.
  defp peak(fun) do
    resident = resident("VmRSS")
    # Forgets the peak, proc(5).
    File.write!("/proc/self/clear_refs", "5")
    result = fun.()
    {result, resident("VmHWM") - resident}
  end

  defp resident(key) do
    [_, kib] = Regex.run(~r/^#{key}:\s+(\d+) kB$/m, File.read!("/proc/self/status"))
    String.to_integer(kib) * 1024
  end
end
