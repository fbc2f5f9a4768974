defmodule NetnsAgent.DiscoveryTest do
  use NetnsAgent.Test.AgentCase, async: false

  alias NetnsAgent.{Config, Discovery, Discovery.Namespace}

  defp scan(settings \\ []) do
    {found, _dropped} = Discovery.scan(Config.new!(settings))
    found
  end

  defp inode(path), do: File.stat!(path).inode

  defp directory do
    path = Path.join(System.tmp_dir!(), unique())
    on_exit(fn -> File.rm_rf!(path) end)
    File.mkdir_p!(path)
    path
  end

  test "a namespace with a name is found by it" do
    name = netns()
    path = "/run/netns/" <> name
    inode = inode(path)
    assert %{^name => %Namespace{id: ^name, identity: {^inode, _}, paths: [^path | _]}} = scan()
  end

  test "a namespace that only a process holds is found by the process" do
    pid = Netns.process()
    id = "pid:#{pid}"
    path = "/proc/#{pid}/ns/net"
    inode = inode(path)
    assert %{^id => %Namespace{identity: {^inode, nil}, paths: [^path], processes: 1}} = scan()
    refute is_map_key(scan(proc: nil), id)
  end

  test "the same namespace found twice is one, with both ways into it" do
    name = netns()
    path = "/run/netns/" <> name
    sleep = System.find_executable("sleep")
    arguments = ["--net=" <> path, sleep, "60"]
    port = Port.open({:spawn_executable, System.find_executable("nsenter")}, args: arguments)
    {:os_pid, pid} = Port.info(port, :os_pid)
    on_exit(fn -> Netns.kill(pid, "KILL", "sleep") end)
    process = "/proc/#{pid}/ns/net"
    eventually(fn -> inode(process) == inode(path) end)

    found = scan()
    assert %Namespace{paths: [^path, ^process], processes: 1} = found[name]
    assert 1 == Enum.count(found, fn {_, ns} -> elem(ns.identity, 0) == inode(path) end)
  end

  test "a namespace behind a link to a process stays the same one" do
    directory = directory()
    File.ln_s!("/proc/#{Netns.process()}/ns/net", directory <> "/linked")
    found = scan(dirs: [directory], proc: nil)
    assert %{"linked" => %Namespace{identity: {_, nil}}} = found
    # Its inode is made anew for each look, at a time of its own.
    now = System.os_time(:second)
    eventually(fn -> System.os_time(:second) > now end)
    assert found == scan(dirs: [directory], proc: nil)
  end

  test "the VM's own namespace is not among them" do
    own = inode("/proc/self/ns/net")
    refute Enum.any?(scan(), fn {_, ns} -> elem(ns.identity, 0) == own end)
  end

  test "files that are no namespaces are not, whatever they are" do
    directory = directory()
    File.touch!(directory <> "/file")
    File.mkdir!(directory <> "/directory")
    {_, 0} = System.cmd("mkfifo", [directory <> "/fifo"])
    File.ln_s!("nowhere", directory <> "/dangling")
    assert %{} == scan(dirs: [directory, "/no such directory"], proc: nil)
  end

  test "names are any bytes, and no two of them are one id" do
    directory = directory()

    names = [
      "a b",
      "ü",
      <<"x", 0xFF>>,
      <<"x", 0xFE>>,
      "x\\xFF",
      "x\n",
      "x\u202E",
      "<b>&\"'\\\n",
      "x\u00A0"
    ]

    for name <- names do
      :ok = :file.make_symlink("/run/netns/" <> netns(), directory <> "/" <> name)
    end

    found = scan(dirs: [directory], proc: nil)
    assert length(names) == map_size(found)
    for {id, _} <- found, do: assert(String.printable?(id) and not (id =~ "\n"))
    assert %{"x\\xFF" => one, "x\\xFE" => _, "x\\\\xFF" => other} = found
    assert [directory <> <<"/x", 0xFF>>] == one.paths
    assert [directory <> "/x\\xFF"] == other.paths

    for {_, namespace} <- found,
        path <- namespace.paths,
        do: assert({:ok, _} = Nlns.open_socket(path, :inet, :dgram, :udp))
  end

  test "one name for different namespaces is the first one's, and the path of the others" do
    {one, two} = {directory(), directory()}
    pid = Netns.process()
    File.ln_s!("/run/netns/" <> netns(), one <> "/same")
    File.ln_s!("/run/netns/" <> netns(), two <> "/same")
    File.ln_s!("/run/netns/" <> netns(), two <> "/pid:#{pid}")
    # No process whose number begins or ends with this one.
    found = scan(dirs: [one, two], only: "same|pid:#{pid}$|/#{pid}/ns")
    paths = Map.new(found, fn {id, ns} -> {id, hd(ns.paths)} end)
    process = "/proc/#{pid}/ns/net"

    assert %{
             "same" => one <> "/same",
             (two <> "/same") => two <> "/same",
             "pid:#{pid}" => two <> "/pid:#{pid}",
             process => process
           } == paths
  end

  test "only those that are wanted, and no more than the limit" do
    [first, _second] = names = Enum.sort([netns(), netns()])
    only = "^(" <> Enum.join(names, "|") <> ")$"
    assert names == scan(only: only) |> Map.keys() |> Enum.sort()

    {found, dropped} = Discovery.scan(Config.new!(only: only, max_namespaces: 1))
    assert {[first], 1} == {Map.keys(found), dropped}
  end

  test "a process of another procfs is a path there, and never a number here" do
    # A procfs of a pid namespace of its own, in which the number 1 is not this machine's 1.
    script = "mount -t proc proc /proc && exec sleep 60"
    arguments = ~w(--pid --fork --kill-child --mount --net sh -c) ++ [script]
    port = Port.open({:spawn_executable, System.find_executable("unshare")}, args: arguments)
    {:os_pid, pid} = Port.info(port, :os_pid)
    on_exit(fn -> Netns.kill(pid, "KILL", "unshare") end)
    child = eventually(fn -> child(pid) end)
    proc = "/proc/#{child}/root/proc"
    eventually(fn -> File.read("#{proc}/1/comm") == {:ok, "sleep\n"} end)

    assert %{"pid:1" => %{paths: [path]}} = found = scan(dirs: [], proc: proc)
    assert [path] == Enum.map(found, fn {_, ns} -> hd(ns.paths) end)
    assert path == proc <> "/1/ns/net"
    start_agent(dirs: [], proc: proc, only: nil)
    assert %{error: nil, links: [%{name: "lo"}]} = await_sample("pid:1")
    {200, _, body} = get("/namespaces")
    assert body =~ ~s("command":"sleep")
  end

  defp child(pid) do
    with {:ok, children} <- File.read("/proc/#{pid}/task/#{pid}/children"),
         [child | _] <- String.split(children),
         do: child,
         else: (_ -> nil)
  end
end
