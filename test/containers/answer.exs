# Prints what opening at a path gives: "inside", where there is the interface that scripts/test-containers has made in
# its container, "elsewhere", or the error.
[path] = System.argv()
{:ok, _} = Application.ensure_all_started(:nlns)

with {:ok, socket} <- Nlns.open_socket(path, :netlink, :raw, 0) do
  if "nlns-inside" in Nlns.Rtnetlink.links(socket), do: "inside", else: "elsewhere"
else
  error -> inspect(error)
end
|> IO.puts()
