# The part of test/kernel/confined that is confined. The name of a namespace, a process outside, and what confines.
[name, outside, cause] = System.argv()
path = "/proc/#{outside}/ns/net"

{:ok, fd} = Nlns.open_fd({:name, name}, :netlink, :raw, 0)
:ok = Nlns.close_fd(fd)

for netns <- [path, {:pid, String.to_integer(outside)}] do
  {:error, {:open, 13}} = Nlns.open_fd(netns, :netlink, :raw, 0)
  true = Nlns.format_error({:open, 13}, netns) =~ cause
end

# One that is confined as the VM is.
port = Port.open({:spawn, "unshare --net cat"}, [:binary])
{:os_pid, inside} = Port.info(port, :os_pid)
true = Port.command(port, "in its namespace")

receive do
  {^port, {:data, _}} -> :ok
end

{:ok, fd} = Nlns.open_fd({:pid, inside}, :netlink, :raw, 0)
:ok = Nlns.close_fd(fd)

Mix.Task.run("nlns.doctor")
IO.puts("confined: as expected")
