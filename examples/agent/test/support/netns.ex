defmodule NetnsAgent.Test.Netns do
  @moduledoc "Namespaces and what is in them, made by iproute2 and util-linux, removed after the test."

  import ExUnit.Callbacks, only: [on_exit: 1]

  alias NetnsAgent.Test.AgentCase

  @doc "What every name of this run begins with."
  def prefix, do: "agenttest" <> System.pid() <> "-"

  def unique, do: prefix() <> Integer.to_string(System.unique_integer([:positive]))

  @doc "Makes a namespace; its name."
  def netns(name \\ unique()) do
    on_exit(fn -> System.cmd("ip", ["netns", "del", name], stderr_to_stdout: true) end)
    ip!(["netns", "add", name])
    name
  end

  @doc "The name of the namespace that a link leads to."
  def target(link) do
    {:ok, path} = :file.read_link(link)
    Path.basename(to_string(path))
  end

  @doc "A namespace file that is none: the namespace behind it is of another kind."
  def broken(name \\ unique()) do
    path = "/run/netns/" <> name
    on_exit(fn -> System.cmd("ip", ["netns", "del", name], stderr_to_stdout: true) end)
    File.touch!(path)
    {_, 0} = System.cmd("mount", ["--bind", "/proc/self/ns/uts", path])
    name
  end

  @doc """
  Lets one namespace answer for another's life: a pair of interfaces, one end in each. The kernel
  removes the end in `yard` when the namespace is gone for good, not when only its name is.
  """
  def life_line(yard, name) do
    line = "l#{System.unique_integer([:positive])}"
    ip!(["-n", yard, "link", "add", line, "type", "veth", "peer", "name", "life", "netns", name])
    line
  end

  def alive?(yard, line) do
    match?({_, 0}, System.cmd("ip", ["-n", yard, "link", "show", line], stderr_to_stdout: true))
  end

  @doc """
  A line between two namespaces, up, with addresses 10.99.0.1 and .2.

  It has no IPv6 address, and each end knows the other's: the kernel would send discoveries of its own, at a moment
  that nobody knows.
  """
  def connect(one, other) do
    mac = &"02:00:00:00:00:0#{&1}"
    pair = ["type", "veth", "peer", "name", "to1", "address", mac.(2), "netns", other]
    ip!(["-n", one, "link", "add", "to2", "address", mac.(1)] ++ pair)

    for {name, link, host, peer} <- [{one, "to2", 1, 2}, {other, "to1", 2, 1}] do
      ip!(["-n", name, "link", "set", link, "addrgenmode", "none"])
      ip!(["-n", name, "addr", "add", "10.99.0.#{host}/24", "dev", link])
      ip!(["-n", name, "link", "set", link, "up"])
      known = ["lladdr", mac.(peer), "dev", link, "nud", "permanent"]
      ip!(["-n", name, "neigh", "replace", "10.99.0.#{peer}"] ++ known)
    end

    :ok
  end

  def up_loopback(name), do: ip!(["-n", name, "link", "set", "lo", "up"])

  @doc "A TCP listener in a namespace, closed with the test's process; its port."
  def listen(name, address \\ {127, 0, 0, 1}) do
    {:ok, socket} = Nlns.open_socket({:name, name}, :inet, :stream, :tcp)
    :ok = :socket.bind(socket, %{family: :inet, addr: address, port: 0})
    :ok = :socket.listen(socket)
    {:ok, %{port: port}} = :socket.sockname(socket)
    # A socket that no term refers to is closed by the next garbage collection.
    Process.put({:listener, port}, socket)
    port
  end

  @doc "Sends a UDP datagram from inside, to nobody."
  def send_udp(name, {_, _, _, _} = address, bytes, count) do
    {:ok, socket} = Nlns.open_socket({:name, name}, :inet, :dgram, :udp)
    to = %{family: :inet, addr: address, port: 9}
    for _ <- 1..count, do: :ok = :socket.sendto(socket, :binary.copy("x", bytes), to)
    :socket.close(socket)
  end

  @doc "A process in a namespace of its own; its pid."
  def process do
    cat = System.find_executable("cat")
    options = [:binary, :exit_status, args: ["--net", cat]]
    port = Port.open({:spawn_executable, System.find_executable("unshare")}, options)
    {:os_pid, pid} = Port.info(port, :os_pid)
    on_exit(fn -> kill(pid, "KILL", "cat") end)
    # It echoes, so it is past unshare(2) and exec(2).
    Port.command(port, "x")

    receive do
      {^port, {:data, "x"}} -> pid
    after
      AgentCase.patience() -> raise "unshare --net cat does not answer"
    end
  end

  @doc "Ends a process of this run, which has `mark` in its command line: numbers are given away again."
  def kill(pid, signal \\ "KILL", mark \\ "") do
    with {:ok, line} <- File.read("/proc/#{pid}/cmdline"),
         true <- String.contains?(line, mark) do
      System.cmd("kill", ["-" <> signal, to_string(pid)], stderr_to_stdout: true)
    end
  end

  @doc "What `ip -s -j link` says, by interface and counter, named as the agent names them."
  def counters(name) do
    {json, 0} = System.cmd("ip", ["-n", name, "-s", "-j", "link"])
    # Elixir 1.14 and OTP 25 have no JSON decoder; this output is regular enough.
    for link <- tl(String.split(json, ~s({"ifindex":))), into: %{} do
      [_, ifname] = Regex.run(~r/"ifname":"([^"]*)"/, link)

      counters =
        for side <- ~w(rx tx), name <- ~w(bytes packets errors dropped), into: %{} do
          [_, n] = Regex.run(~r/"#{side}":\{[^}]*"#{name}":(\d+)/, link)
          {:"#{side}_#{name}", String.to_integer(n)}
        end

      {ifname, counters}
    end
  end

  def ip!(args) do
    case System.cmd("ip", args, stderr_to_stdout: true) do
      {_, 0} -> :ok
      {output, status} -> raise "ip #{Enum.join(args, " ")}: #{status}, #{output}"
    end
  end
end
