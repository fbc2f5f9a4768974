defmodule Nlns.Netns do
  @moduledoc "Namespaces, interfaces and processes in them, made by iproute2 and util-linux."

  import Nlns.Patience

  alias Nlns.Rtnetlink

  @directory "/run/netns"

  @doc "Whether namespaces can be made here; if not, what is missing, as text."
  @spec check() :: :ok | {:error, String.t()}
  def check do
    missing = Enum.reject(~w(ip mount umount unshare setpriv mkfifo), &System.find_executable/1)

    with [] <- missing,
         name = unique("nlnstest"),
         {_, 0} <- System.cmd("ip", ["netns", "add", name], stderr_to_stdout: true),
         opened = Nlns.open_in_netns(path(name), 0),
         ip!(["netns", "del", name]),
         {:ok, fd} <- opened do
      Nlns.close_fd(fd)
    else
      [_ | _] -> {:error, "not installed: #{Enum.join(missing, ", ")}"}
      {output, _} when is_binary(output) -> {:error, "ip netns add: #{String.trim(output)}"}
      {:error, reason} -> {:error, Nlns.format_error(reason)}
    end
  end

  @doc "A name that no other run of the tests, and nothing in this one, uses. Fits an interface."
  @spec unique(String.t()) :: String.t()
  def unique(prefix) do
    pid = System.pid() |> String.to_integer() |> Integer.to_string(36) |> String.downcase()
    "#{prefix}#{pid}-#{System.unique_integer([:positive])}"
  end

  @spec path(String.t()) :: Path.t()
  def path(name), do: Path.join(@directory, name)

  @doc "Makes a namespace; its path."
  @spec add(String.t()) :: Path.t()
  def add(name \\ unique("nlnstest")) do
    ip!(["netns", "add", name])
    mark("ip", ["-n", name])
    path(name)
  end

  @spec del(Path.t()) :: :ok
  def del(path), do: ip!(["netns", "del", Path.basename(path)])

  @doc "Adds an interface to a namespace; its name."
  @spec add_link(Path.t(), String.t()) :: String.t()
  def add_link(path, name \\ unique("i")) do
    peer = unique("p")
    ip!(["-n", Path.basename(path), "link", "add", name, "type", "veth", "peer", "name", peer])
    name
  end

  @doc "Adds a pair of interfaces, one end in the namespace; the name of the end on the host."
  @spec add_veth_to_host(Path.t(), String.t()) :: String.t()
  def add_veth_to_host(path, inside \\ unique("p")) do
    host = unique("h")
    to = ["netns", Path.basename(path)]
    ip!(["link", "add", host, "type", "veth", "peer", "name", inside] ++ to)
    host
  end

  @doc """
  Joins two namespaces by a pair of interfaces that are up, with the addresses 192.0.2.1 and 192.0.2.2
  (RFC 5737); the interfaces' names.
  """
  @spec join(Path.t(), Path.t()) :: {String.t(), String.t()}
  def join(first, second) do
    {first, second} = {Path.basename(first), Path.basename(second)}
    {one, two} = {unique("v"), unique("v")}
    pair = ["type", "veth", "peer", "name", two, "netns", second]
    ip!(["-n", first, "link", "add", one] ++ pair)

    for {name, link, address} <- [{first, one, "192.0.2.1/30"}, {second, two, "192.0.2.2/30"}] do
      ip!(["-n", name, "address", "add", address, "dev", link])
      up(name, link)
    end

    {one, two}
  end

  @doc "Sets an interface in a namespace up."
  @spec up(Path.t(), String.t()) :: :ok
  def up(path, link), do: ip!(["-n", Path.basename(path), "link", "set", link, "up"])

  @doc "Adds an interface to the host, without end in any namespace; its name."
  @spec add_host_link() :: String.t()
  def add_host_link do
    name = unique("h")
    ip!(["link", "add", name, "type", "veth", "peer", "name", unique("p")])
    name
  end

  @spec del_link(String.t()) :: :ok
  def del_link(name), do: ip!(["link", "del", name])

  @doc "Whether the VM's own namespace has this interface, as the kernel tells it now."
  @spec host_link?(String.t()) :: boolean()
  def host_link?(name) do
    match?({_, 0}, System.cmd("ip", ["link", "show", name], stderr_to_stdout: true))
  end

  @doc """
  Deletes the namespace; whether it ends soon, which its end of a pair does with it: `host` is the other.
  """
  @spec gone_after_delete?(Path.t(), String.t()) :: boolean()
  def gone_after_delete?(path, host) do
    del(path)
    gone?("/sys/class/net/#{host}", System.monotonic_time(:millisecond) + within())
  end

  defp gone?(file, deadline) do
    cond do
      not File.exists?(file) -> true
      System.monotonic_time(:millisecond) > deadline -> false
      true -> Process.sleep(5) && gone?(file, deadline)
    end
  end

  @spec ip!([String.t()]) :: :ok
  def ip!(args), do: run!("ip", args)

  @spec run!(String.t(), [String.t()]) :: :ok
  def run!(command, args) do
    case System.cmd(command, args, stderr_to_stdout: true) do
      {_, 0} -> :ok
      {output, status} -> raise "#{command} #{Enum.join(args, " ")}: #{status}, #{output}"
    end
  end

  @doc "A process in a new namespace of its own. It ends with its port, or by `kill/1`."
  @spec process() :: %{port: port(), pid: pos_integer(), path: Path.t()}
  def process do
    cat = System.find_executable("cat")
    options = [:binary, :exit_status, args: ["--net", cat]]
    port = Port.open({:spawn_executable, System.find_executable("unshare")}, options)
    {:os_pid, pid} = Port.info(port, :os_pid)
    # It echoes, so it is past unshare(2) and exec(2).
    Port.command(port, "x")

    receive do
      {^port, {:data, "x"}} ->
        mark("nsenter", ["--net=/proc/#{pid}/ns/net", "ip"])
        %{port: port, pid: pid, path: "/proc/#{pid}/ns/net"}
    after
      within() -> raise "unshare --net cat does not answer"
    end
  end

  # Before Linux 5.14 sockets cannot tell their namespaces apart, and an inode is used again at once. Each
  # can be asked for the length of the loopback interface's transmit queue, which nothing uses.
  defp mark(command, args) do
    if not Rtnetlink.cookies?() do
      mark = 1_000 + System.unique_integer([:positive])
      run!(command, args ++ ["link", "set", "lo", "txqueuelen", "#{mark}"])
    end
  end

  @doc "Kills such a process; returns when it has been reaped."
  @spec kill(%{port: port(), pid: pos_integer()}) :: :ok
  def kill(%{port: port, pid: pid}) do
    run!("kill", ["-9", to_string(pid)])

    receive do
      {^port, {:exit_status, _}} -> :ok
    after
      within() -> raise "process #{pid} does not end"
    end
  end
end
