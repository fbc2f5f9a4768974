defmodule Nlns.ErrorCauseTest do
  # `format_error/2`: what a second look finds. Each sentence once by its facts, and those causes that can
  # be had here for real.
  use Nlns.NetnsCase

  alias Nlns.Error.Cause

  @confinement %{
    capabilities: [],
    bounding: [],
    seccomp: 0,
    security_module: nil,
    initial_user_namespace?: true
  }

  @look %{
    path: "/run/netns/blue",
    pid: nil,
    running?: nil,
    listed?: false,
    owner: nil,
    user: 1000,
    own_proc?: true,
    hidepid: nil,
    stops_at: nil,
    link: nil,
    file: nil,
    confinement: @confinement,
    pool: nil
  }

  @process %{
    @look
    | path: "/proc/17/ns/net",
      pid: 17,
      running?: true,
      stops_at: {"/proc/17", :enoent}
  }
  @plain %{type: :regular, nsfs?: false, kind: nil, size: 0, age: 60}
  @apparmor {:apparmor, "docker-default"}
  @pool %{max_helpers: 4, max_queue: 10, waiting: 0, stuck: 0, helpers: []}

  defmacrop confined(look, changes) do
    quote do: %{unquote(look) | confinement: Map.merge(@confinement, Map.new(unquote(changes)))}
  end

  defp sentences do
    [
      {{:open, 2}, %{@process | running?: false}, "no process 17 is running"},
      {{:open, 2}, %{@process | own_proc?: false},
       "process 17 is running, but its main thread has ended"},
      {{:open, 2}, %{@process | hidepid: "2"},
       "process 17 is running, but /proc is mounted with hidepid=2 and does not show it to this user; " <>
         "CAP_SYS_PTRACE or the mount's gid= does"},
      {{:open, 2}, %{@process | listed?: true, stops_at: {"/proc/17/ns/net", :enoent}},
       "process 17 is running, but its main thread has ended; its other threads have the path " <>
         "/proc/17/task/TID/ns/net"},
      {{:open, 2}, %{@look | file: @plain}, "by now something is there"},
      {{:open, 2}, %{@look | stops_at: {"/run/netns/blue", :enoent}, link: "/gone"},
       ~s("/run/netns/blue" is a symbolic link to "/gone", where nothing is)},
      {{:open, 2}, %{@look | stops_at: {"/run/netns/blue", :enoent}},
       ~s("/run/netns" is there, and has no "blue")},
      {{:open, 2}, %{@look | stops_at: {"/run/netns", :enoent}},
       "there is no /run/netns. `ip netns add` makes it; in a container the host's has to be mounted " <>
         "(docker: -v /run/netns:/run/netns:rslave)"},
      {{:open, 2}, %{@look | stops_at: {"/run", :enoent}}, ~s(there is no "/run")},
      {{:open, 13}, %{@look | stops_at: {"/run/netns/blue", :eacces}},
       ~s(user 1000 may not search "/run/netns")},
      {{:open, 13}, confined(@look, security_module: @apparmor),
       "AppArmor's profile docker-default (docker: --security-opt apparmor=unconfined) may forbid it"},
      {{:open, 13}, %{@process | owner: 0, stops_at: {"/proc/17/ns/net", :eacces}},
       "process 17 is of user 0, this one of 1000; it needs CAP_SYS_PTRACE"},
      {{:open, 13}, %{@process | owner: 1000, stops_at: {"/proc/17/ns/net", :eacces}},
       "process 17 is of this user too, but has capabilities that this one has not; it needs CAP_SYS_PTRACE"},
      {{:open, 13},
       confined(@process, capabilities: [:sys_ptrace], security_module: @apparmor)
       |> Map.put(:stops_at, {"/proc/17/ns/net", :eacces}),
       "CAP_SYS_PTRACE is effective, so it is AppArmor's profile docker-default (docker: --security-opt " <>
         "apparmor=unconfined) that forbids it"},
      {{:open, 13},
       confined(@process, capabilities: [:sys_ptrace])
       |> Map.put(:stops_at, {"/proc/17/ns/net", :eacces}),
       "CAP_SYS_PTRACE is effective here, but not in the user namespace of process 17"},
      {{:setns, 22}, %{@look | file: %{@plain | kind: "net", nsfs?: true}}, "by now it is one"},
      {{:setns, 22}, %{@look | file: %{@plain | kind: "mnt", nsfs?: true}},
       "it is a namespace, but of the kind mnt"},
      {{:setns, 22}, %{@look | file: %{@plain | nsfs?: true}},
       "it is a namespace, but of another kind, or by now it is one"},
      {{:setns, 22}, %{@look | file: %{@plain | age: 0}},
       ~s("/run/netns/blue" was made just now and has no namespace mounted on it yet; ask again)},
      {{:setns, 22}, %{@look | file: @plain},
       ~s("/run/netns/blue" is an empty file, 60 s old, with no namespace mounted on it in this mount ) <>
         "namespace; if it has one elsewhere, that mount does not propagate to here " <>
         "(docker: -v /run/netns:/run/netns:rslave; rootless podman: podman unshare)"},
      {{:setns, 22}, %{@look | file: %{@plain | type: :directory}},
       ~s("/run/netns/blue" is a directory, no namespace)},
      {{:setns, 22}, @look, "by now nothing is there"},
      {{:setns, 1}, @look, "CAP_SYS_ADMIN is not effective, and not in the bounding set"},
      {{:setns, 1}, confined(@look, bounding: [:sys_admin]),
       "CAP_SYS_ADMIN is not effective. It is in the bounding set alone, as with docker's --user and " <>
         "--cap-add: run as root, or give it to the VM's file (setcap) or as an ambient one"},
      {{:setns, 1}, confined(@look, capabilities: [:sys_admin], seccomp: 2),
       "CAP_SYS_ADMIN is effective, so it is the seccomp filter of this process that refuses, or the " <>
         "namespace belongs to a user namespace in which this process has no capabilities"},
      {{:setns, 1}, confined(@look, capabilities: [:sys_admin]),
       "CAP_SYS_ADMIN is effective here, but not in the user namespace that owns the namespace"},
      {{:socket, 1}, @look, "CAP_NET_RAW is not effective, and not in the bounding set"},
      {{:socket, 13}, confined(@look, security_module: {:selinux, "container_t"}),
       "SELinux, by the type container_t (docker: --security-opt label=disable) may forbid this family"},
      {{:socket, 13}, @look, nil},
      {{:socket, 97}, confined(@look, seccomp: 2),
       "a seccomp filter is active, which may be what refuses the family (systemd: " <>
         "RestrictAddressFamilies=); else the kernel lacks it"},
      {{:socket, 97}, @look,
       "no seccomp filter is active: the kernel lacks it, or a module of it is missing"},
      {{:open, 95}, %{@process | own_proc?: false},
       "what is at /proc is of another pid namespace, or nothing"},
      {{:thread, 2}, %{@look | own_proc?: false},
       "nothing is mounted at /proc, or what is there is of another pid namespace: mount -t proc proc /proc"},
      {{:thread, 11}, %{@look | pool: %{@pool | stuck: 4}},
       "all 4 helpers (max_helpers) are stuck in the kernel; Nlns.info/0 tells where"},
      {{:thread, 11}, %{@look | pool: @pool},
       "now 0 of 4 helpers run and 0 requests wait: that was a moment, or the system allows no more threads"},
      {{:thread, 110},
       %{@look | pool: %{@pool | helpers: [%{state: :stuck, path: "/run/netns/blue"}]}},
       "a helper is stuck at this path: what is mounted there does not answer"},
      {{:thread, 110}, %{@look | pool: @pool}, nil},
      {{:open, 36}, @look, nil}
    ]
  end

  @tag netns: false
  test "each cause has its sentence" do
    for {reason, look, sentence} <- sentences(),
        do: assert({reason, Cause.of(reason, look)} == {reason, sentence})
  end

  @tag netns: false
  test "every errno with several causes is told apart by at least two sentences" do
    by_reason = Enum.group_by(sentences(), &elem(&1, 0), &elem(&1, 2))

    for reason <- [
          {:open, 2},
          {:open, 13},
          {:setns, 1},
          {:setns, 22},
          {:socket, 97},
          {:thread, 11}
        ] do
      assert length(Enum.uniq(by_reason[reason])) >= 2
    end
  end

  @tag netns: false
  test "a name and a path that are not there, a link to nothing, a process that has ended" do
    dir = tmp_dir()
    link = Path.join(dir, "link")
    File.ln_s!("/gone", link)

    for {netns, told} <- [
          {Path.join(dir, "x"), ~s("#{dir}" is there, and has no "x")},
          {Path.join([dir, "y", "x"]), ~s(there is no "#{dir}/y")},
          {link, ~s("#{link}" is a symbolic link to "/gone", where nothing is)},
          {{:pid, 2_147_483_647}, "no process 2147483647 is running"}
        ] do
      assert {:error, {:open, 2} = reason} = Nlns.open_fd(netns, :inet, :dgram, :udp)
      assert Nlns.format_error(reason, netns) =~ told
    end
  end

  test "a file that is no namespace, and one of another kind" do
    file = Path.join(tmp_dir(), "file")
    File.write!(file, "")
    fifo = Path.join(tmp_dir(), "fifo")
    {_, 0} = System.cmd("mkfifo", [fifo])

    for {path, told} <- [
          {file, "was made just now"},
          {"/dev/null", "is a device, no namespace"},
          {fifo, "is a FIFO or a socket, no namespace"},
          {"/proc/self/ns/mnt", "it is a namespace, but of the kind mnt"}
        ] do
      assert {:error, {:setns, 22} = reason} = Nlns.open_in_netns(path, 0)
      assert Nlns.format_error(reason, path) =~ told
    end
  end

  test "a namespace that is there by now is said to be" do
    path = netns()
    assert Nlns.format_error({:open, 2}, path) =~ "by now something is there"
    assert Nlns.format_error({:setns, 22}, path) =~ "by now it is one"
  end

  test "without a cause the sentence is that of format_error/1" do
    assert Nlns.format_error({:open, 36}, "/x") == Nlns.format_error({:open, 36})
    assert Nlns.format_error({:thread, 110}, netns()) == Nlns.format_error({:thread, 110})
    assert Nlns.format_error({:bind, 22}, "/x") == Nlns.format_error({:bind, 22})
  end

  test "a process that hidepid hides is said to be running" do
    other = System.pid()

    hidden =
      ~s(mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@")

    said =
      Nlns.ChildVM.eval(["unshare", "-m", "sh", "-c", hidden, "sh"], """
      netns = "/proc/#{other}/ns/net"
      {:error, reason} = Nlns.open_fd(netns, :inet, :dgram, :udp)
      {reason, Nlns.format_error(reason, netns)}
      """)

    assert said =~ "{:open, 2}"
    assert said =~ "process #{other} is running, but /proc is mounted with hidepid="
  end

  test "a process whose main thread has ended is said to be running" do
    source = """
    #include <pthread.h>
    #include <unistd.h>
    static void *wait(void *none) { char c; while (read(0, &c, 1) > 0); _exit(0); }
    int main(void) { pthread_t t; pthread_create(&t, 0, wait, 0); write(1, "ready", 5); pthread_exit(0); }
    """

    program = Path.join(tmp_dir(), "headless")
    File.write!(program <> ".c", source)
    {_, 0} = System.cmd("cc", ["-pthread", "-w", "-o", program, program <> ".c"])
    port = Port.open({:spawn_executable, program}, [:binary])
    assert_receive {^port, {:data, "ready"}}, within()
    {:os_pid, pid} = Port.info(port, :os_pid)

    eventually(fn -> assert {:error, :enoent} = File.read_link("/proc/#{pid}/ns/net") end)
    assert {:error, {:open, 2}} = Nlns.open_fd({:pid, pid}, :inet, :dgram, :udp)

    assert Nlns.format_error({:open, 2}, {:pid, pid}) =~
             "process #{pid} is running, but its main thread has ended"

    [_, tid] = "/proc/#{pid}/task" |> File.ls!() |> Enum.sort_by(&String.to_integer/1)
    assert {:ok, fd} = Nlns.open_fd("/proc/#{pid}/task/#{tid}/ns/net", :inet, :dgram, :udp)
    Nlns.close_fd(fd)
    Port.close(port)
  end

  test "a missing capability of another user is named" do
    path = netns()
    process = "/proc/#{System.pid()}/ns/net"

    said =
      Nlns.ChildVM.eval(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"],
        """
        for path <- #{inspect([path, process])} do
          {:error, reason} = Nlns.open_in_netns(path, 0)
          Nlns.format_error(reason, path)
        end
        """
      )

    assert said =~ "CAP_SYS_ADMIN is not effective. It is in the bounding set alone"
    assert said =~ "is of user 0, this one of 65534; it needs CAP_SYS_PTRACE"
  end
end
