# Opens netlink sockets in three network namespaces, asks the kernel for the links and addresses there,
# and prints them below those of the VM's own namespace, with how long each open took.
#
#     make demo
#
# or, as root and with the library compiled: mix run examples/demo.exs

Code.require_file("rtnetlink.exs", __DIR__)

defmodule Demo do
  @netlink_route 0

  def run do
    names = for letter <- ~w(a b c), do: "nlns-demo-#{System.pid()}-#{letter}"

    with_namespaces(names, fn ->
      # A path is all that nlns asks for; the VM's own namespace has one too.
      paths = ["/proc/self/ns/net" | for(name <- names, do: "/run/netns/#{name}")]

      # So that the first open is not the one that loads the module.
      Code.ensure_loaded!(Nlns)

      results = Enum.zip([["host" | names], Enum.map(paths, &sync/1), async(paths)])
      Enum.each(results, &print_links/1)
      print_times(results)
    end)
  end

  # Synchronously: a descriptor, which is ours to close.
  defp sync(path) do
    {first, fd} = :timer.tc(fn -> open!(path) end)
    {again, second} = :timer.tc(fn -> open!(path) end)
    :ok = Nlns.close_fd(second)

    # `:socket` works on a duplicate of it and closes only that.
    {:ok, socket} = :socket.open(fd)
    :ok = Nlns.close_fd(fd)

    links = Rtnetlink.links(socket)
    :ok = :socket.close(socket)
    %{first: first, again: again, links: links}
  end

  defp open!(path) do
    case Nlns.open_in_netns(path, @netlink_route, 5_000) do
      {:ok, fd} -> fd
      {:error, reason} -> raise "#{path}: #{Nlns.format_error(reason)}"
    end
  end

  # Asynchronously: all at once, and a message answers each. A GenServer gets it in handle_info/2.
  defp async(paths) do
    begun = System.monotonic_time()
    requests = for path <- paths, do: {path, Nlns.open_in_netns_async(path, @netlink_route)}

    answers =
      for {path, %{ref: ref}} <- requests do
        receive do
          {:nlns, ^ref, {:ok, handle}} -> {handle, System.monotonic_time() - begun}
          {:nlns, ^ref, {:error, reason}} -> raise "#{path}: #{Nlns.format_error(reason)}"
        end
      end

    for {handle, time} <- answers do
      # A handle becomes a socket in one step, with nothing left to close but the socket.
      {:ok, socket} = Nlns.Handle.to_socket(handle)
      addresses = Rtnetlink.addresses(socket)
      :ok = :socket.close(socket)
      %{time: System.convert_time_unit(time, :native, :microsecond), addresses: addresses}
    end
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

  defp print_links({name, %{links: links}, %{addresses: addresses}}) do
    rows =
      for link <- links do
        own = for %{index: index, address: address} <- addresses, index == link.index, do: address
        [link.index, link.name, link.state, link.mac, Enum.join(own, " ")]
      end

    print_table(name, ~w(index name state mac addresses), rows)
  end

  defp print_times(results) do
    rows = for {name, sync, async} <- results, do: [name, sync.first, sync.again, async.time]
    head = ["namespace", "first", "again", "asynchronously, all at once"]
    print_table("Microseconds until the socket was open", head, rows)
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
