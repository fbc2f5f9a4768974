# Asks the kernel for the links and addresses in three network namespaces, and prints them below those of
# the VM's own namespace, with how long each answer, and the opening of a socket, took.
#
#     make demo
#
# or, as root and with the library compiled: mix run examples/demo.exs

Code.require_file("rtnetlink.exs", __DIR__)

defmodule Demo do
  def run do
    names = for letter <- ~w(a b c), do: "nlns-demo-#{System.pid()}-#{letter}"

    with_namespaces(names, fn ->
      # The VM's own namespace has a path too.
      netnss = ["/proc/self/ns/net" | for(name <- names, do: {:name, name})]

      # So that no answer waits until the VM has loaded the code.
      links(hd(netnss))
      open(hd(netnss))

      results = Enum.zip([["host" | names], Enum.map(netnss, &links/1), addresses(netnss)])
      Enum.each(results, &print_links/1)
      print_times(results, Enum.map(netnss, &open/1))
    end)
  end

  # One namespace after the other. The first time a helper enters it, and stays for a while.
  defp links(netns) do
    ask = fn -> Nlns.Netlink.execute!(netns, :route, Rtnetlink.get_links()) end
    {first, messages} = :timer.tc(ask)
    {again, _messages} = :timer.tc(ask)
    %{first: first, again: again, links: Rtnetlink.links(messages)}
  end

  # All at once, and in order.
  defp addresses(netnss) do
    for {netns, answer} <- Nlns.Netlink.stream(netnss, :route, Rtnetlink.get_addresses()) do
      case answer do
        {:ok, messages} -> Rtnetlink.addresses(messages)
        {:error, reason} -> raise "#{inspect(netns)}: #{Nlns.format_error(reason)}"
      end
    end
  end

  # For what is more than a request and its answer, such as events, there are sockets.
  defp open(netns) do
    {time, socket} = :timer.tc(fn -> Nlns.open_socket!(netns, :netlink, :raw, 0) end)
    :ok = :socket.close(socket)
    time
  end

  # namespaces.sh removes what it made when it is told to, and when this VM ends in whatever way.
  defp with_namespaces(names, fun) do
    script = Path.expand("namespaces.sh", __DIR__)
    port = Port.open({:spawn_executable, script}, [:binary, :exit_status, args: names])

    receive do
      {^port, {:data, "ready\n"}} -> :ok
      {^port, {:exit_status, status}} -> raise "namespaces.sh ended with #{status}"
    end

    try do
      fun.()
    after
      Port.command(port, "remove\n")

      receive do
        {^port, {:exit_status, 0}} -> IO.puts("Removed #{Enum.join(names, ", ")}.")
        {^port, {:exit_status, status}} -> raise "namespaces.sh ended with #{status}"
      end
    end
  end

  defp print_links({name, %{links: links}, addresses}) do
    rows =
      for link <- links do
        own = for %{index: index, address: address} <- addresses, index == link.index, do: address
        [link.index, link.name, link.state, link.mac, Enum.join(own, " ")]
      end

    print_table(name, ~w(index name state mac addresses), rows)
  end

  defp print_times(results, opens) do
    rows =
      for {{name, links, _addresses}, open} <- Enum.zip(results, opens),
          do: [name, links.first, links.again, open]

    print_table("Microseconds", ["namespace", "first dump", "second", "open a socket"], rows)
  end

  defp print_table(title, head, rows) do
    rows = for row <- [head | rows], do: Enum.map(row, &to_string/1)

    widths =
      Enum.zip_with(rows, fn cells -> cells |> Enum.map(&String.length/1) |> Enum.max() end)

    lines =
      for row <- rows do
        padded = Enum.zip_with(row, widths, &String.pad_trailing/2)
        String.trim_trailing("  " <> Enum.join(padded, "  ")) <> "\n"
      end

    IO.puts([title, "\n" | lines])
  end
end

Demo.run()
