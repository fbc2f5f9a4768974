# Opens a socket in a namespace by its name ($NAME), and proves that it is there and not at home.
name = System.fetch_env!("NAME")
{:ok, _} = Application.ensure_all_started(:nlns)

# SOL_SOCKET, SO_NETNS_COOKIE
cookie = fn path ->
  {:ok, socket} = Nlns.open_socket(path, :netlink, :raw, 0)
  {:ok, cookie} = :socket.getopt_native(socket, {1, 71}, 8)
  :ok = :socket.close(socket)
  cookie
end

inside = cookie.({:name, name})
outside = cookie.("/proc/self/ns/net")
true = inside != outside
IO.puts("opened in #{name}")
