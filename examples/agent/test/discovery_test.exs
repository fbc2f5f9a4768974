defmodule NetnsAgent.DiscoveryTest do
  use NetnsAgent.Test.AgentCase, async: false

  alias NetnsAgent.{Config, Discovery, Namespace}

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
    assert %{^name => %Namespace{id: ^name, inode: ^inode, places: [^path | _]}} = scan()
  end

  test "a namespace that only a process holds is found by the process" do
    pid = Netns.process()
    id = "pid:#{pid}"
    inode = inode("/proc/#{pid}/ns/net")
    assert %{^id => %Namespace{inode: ^inode, places: [{:pid, ^pid}], processes: 1}} = scan()
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
    eventually(fn -> inode("/proc/#{pid}/ns/net") == inode(path) end)

    found = scan()
    assert %Namespace{places: [^path, {:pid, ^pid}], processes: 1} = found[name]
    assert 1 == Enum.count(found, fn {_, ns} -> ns.inode == inode(path) end)
  end

  test "the VM's own namespace is not among them" do
    own = inode("/proc/self/ns/net")
    refute Enum.any?(scan(), fn {_, ns} -> ns.inode == own end)
  end

  test "files that are no namespaces are not, whatever they are" do
    directory = directory()
    File.touch!(directory <> "/file")
    File.mkdir!(directory <> "/directory")
    {_, 0} = System.cmd("mkfifo", [directory <> "/fifo"])
    File.ln_s!("nowhere", directory <> "/dangling")
    assert %{} == scan(dirs: [directory, "/no such directory"], proc: nil)
  end

  test "names are any bytes" do
    directory = directory()
    path = "/run/netns/" <> netns()

    for name <- ["a b", "ü", <<"x", 0xFF>>, "<b>&\"'\\\n"],
        do: :ok = :file.make_symlink(path, directory <> "/" <> name)

    # One namespace: one of the names, and all of them places.
    assert [{_, namespace}] = Enum.to_list(scan(dirs: [directory], proc: nil))

    for place <- namespace.places,
        do: assert({:ok, _} = Nlns.open_socket(place, :inet, :dgram, :udp))

    assert 4 == length(namespace.places)
  end

  test "one name in two directories for two namespaces is two ids" do
    {one, two} = {directory(), directory()}
    File.ln_s!("/run/netns/" <> netns(), one <> "/same")
    File.ln_s!("/run/netns/" <> netns(), two <> "/same")
    assert ["same", "same@" <> _] = scan(dirs: [one, two], proc: nil) |> Map.keys() |> Enum.sort()
  end

  test "only those that are wanted, and no more than the limit" do
    [first, _second] = names = Enum.sort([netns(), netns()])
    only = "^(" <> Enum.join(names, "|") <> ")$"
    assert names == scan(only: only) |> Map.keys() |> Enum.sort()

    {found, dropped} = Discovery.scan(Config.new!(only: only, max_namespaces: 1))
    assert {[first], 1} == {Map.keys(found), dropped}
  end
end
