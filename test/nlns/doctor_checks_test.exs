defmodule Nlns.DoctorChecksTest do
  use ExUnit.Case, async: true

  alias Nlns.Doctor
  alias Nlns.Doctor.{Checks, Facts}

  # A machine on which nothing is wrong.
  @healthy %{
    os: {:unix, :linux},
    kernel: {6, 18, 0},
    features: [],
    library: {:ok, "/lib/libnlns.so"},
    application: :ok,
    max_helpers: 256,
    proc_mounted?: true,
    hidepid: nil,
    names: {:ok, 3},
    capabilities: [:net_raw, :sys_ptrace, :sys_admin, :sys_resource],
    bounding: [:net_raw, :sys_ptrace, :sys_admin, :sys_resource],
    security_module: nil,
    seccomp: 0,
    initial_user_namespace?: true,
    userns_forbidden_by: nil,
    max_open_files: 1024,
    max_processes: 1000,
    pids: nil,
    inotify: ["128", "65536"],
    watcher?: true,
    open_home: :ok,
    open_other: :ok
  }

  test "a healthy machine has only ok, and no hints" do
    checks = Checks.all(@healthy)
    assert Enum.uniq(Enum.map(checks, & &1.status)) == [:ok]
    assert Enum.uniq(Enum.map(checks, & &1.hint)) == [nil]
    assert usable?(checks)
  end

  test "every check that is not ok has a hint" do
    for {facts, _name, _status, _text} <- failures(), check <- Checks.all(facts) do
      assert check.status == :ok or is_binary(check.hint), inspect(check)
    end
  end

  test "each failure is found, weighed and explained" do
    for {facts, name, status, text} <- failures() do
      checks = Checks.all(facts)
      assert [check] = Enum.filter(checks, &(&1.name == name)), name
      assert check.status == status, inspect(check)
      assert "#{check.found} #{check.hint}" =~ text, inspect(check)
      assert usable?(checks) == (status == :optional)
    end
  end

  test "without /proc nothing is said about what is read there" do
    names = for check <- Checks.all(with_fact(:proc_mounted?, false)), do: check.name
    assert "/proc" in names
    refute "CAP_SYS_ADMIN" in names
    refute "open files" in names
  end

  test "a plain user is told how to try nlns, unless that is forbidden too" do
    hint = fn facts -> found(facts, "CAP_SYS_ADMIN").hint end
    assert hint.(%{@healthy | capabilities: []}) =~ "unshare -Urnm"
    forbidden = %{@healthy | capabilities: [], userns_forbidden_by: "user.max_user_namespaces=0"}
    assert hint.(forbidden) =~ "user.max_user_namespaces=0 forbids it"
    refute hint.(forbidden) =~ "unshare -Urnm"
  end

  test "a capability that was given and is not effective is not asked for again" do
    hint = fn bounding ->
      found(%{@healthy | capabilities: [], bounding: bounding}, "CAP_SYS_ADMIN").hint
    end

    assert hint.([]) =~ "docker: --cap-add SYS_ADMIN"
    refute hint.([:sys_admin]) =~ "--cap-add SYS_ADMIN"
    assert hint.([:sys_admin]) =~ "without --user"
  end

  test "the security module is named, with what it forbids and the way out" do
    for {module, name, way_out} <- [
          {{:apparmor, "docker-default"}, "AppArmor, profile docker-default",
           "apparmor=unconfined"},
          {{:selinux, "container_t"}, "SELinux, type container_t", "label=disable"}
        ] do
      check = found(%{@healthy | security_module: module}, "security module")
      assert %{status: :optional, found: ^name} = check
      assert check.hint =~ way_out and check.hint =~ "{:open, 13}"
    end
  end

  test "each feature is a line, with what stands in for one that is missing" do
    feature = %{
      name: "pidfd_open",
      since: {5, 3},
      gives: "following processes",
      stand_in: "a look every second",
      is_there: true
    }

    facts = &%{@healthy | features: [%{feature | is_there: &1}]}
    assert %{status: :ok, found: "following processes"} = found(facts.(true), "pidfd_open")
    check = found(facts.(false), "pidfd_open")

    assert check.status == :optional and check.found =~ "5.3" and
             check.hint =~ "a look every second"

    # The kernel has it, and somebody does not let us.
    assert check.found =~ "privilege"
    older = %{facts.(false) | kernel: {5, 2, 21}}
    assert found(older, "pidfd_open").found == "not here; since Linux 5.3"
  end

  test "a report is plain text, a hint is one line below its check, and the verdict is last" do
    report = @healthy |> Map.put(:capabilities, []) |> Checks.all() |> Doctor.format()
    text = IO.iodata_to_binary(report)
    refute text =~ "\e["
    assert text =~ ~r/^missing   CAP_SYS_ADMIN +not effective\n {10}nlns enters .*exec sh'`\)$/m
    assert text =~ "\n\nnlns cannot be used here: 1 of the requirements missing.\n"

    assert IO.iodata_to_binary(Doctor.format(Checks.all(@healthy))) =~
             ~r/\n\nnlns can be used here\.\n$/
  end

  test "the formats of proc(5) are read" do
    limits = """
    Limit                     Soft Limit           Hard Limit           Units
    Max processes             unlimited            unlimited            processes
    Max open files            1024                 1048576              files
    """

    assert Facts.limit(limits, "Max open files") == 1024
    assert Facts.limit(limits, "Max processes") == :unlimited
    assert Facts.limit("", "Max processes") == :unlimited
  end

  test "user namespaces are forbidden in three ways" do
    only = fn name, value -> &if(&1 == name, do: value, else: "") end

    for {name, value} <- [
          {"user.max_user_namespaces", "0"},
          {"kernel.unprivileged_userns_clone", "0"},
          {"kernel.apparmor_restrict_unprivileged_userns", "1"}
        ] do
      assert Facts.userns_forbidden_by(only.(name, value)) == "#{name}=#{value}"
      assert Facts.userns_forbidden_by(only.(name, "7")) == nil
    end
  end

  test "of a cgroup and those above it, the limit that is nearest counts" do
    files = %{
      "/sys/fs/cgroup/a/pids.max" => "100\n",
      "/sys/fs/cgroup/a/pids.current" => "90\n",
      "/sys/fs/cgroup/a/b/pids.max" => "50\n",
      "/sys/fs/cgroup/a/b/pids.current" => "5\n",
      "/sys/fs/cgroup/a/b/c/pids.max" => "max\n",
      "/sys/fs/cgroup/a/b/c/pids.current" => "5\n",
      "/sys/fs/cgroup/pids/old/pids.max" => "7\n",
      "/sys/fs/cgroup/pids/old/pids.current" => "1\n"
    }

    read = &Map.get(files, &1, "")
    assert Facts.pids("0::/a/b/c\n", read) == {100, 90}
    assert Facts.pids("9:name=systemd:/\n8:pids:/old\n0::/\n", read) == {7, 1}
    assert Facts.pids("0::/\n", read) == nil
    assert Facts.pids("", read) == nil
  end

  test "a wrong setting is repeated in its own words" do
    error = %ArgumentError{message: "config :nlns, idle_timeout: expected ..., got: -1"}
    reason = {:bad_return, {{Nlns.Application, :start, [:normal, []]}, {:EXIT, {error, []}}}}
    assert Facts.reason(reason) == error.message

    assert Facts.reason({:bad_return, {:x, {:error, {:thread, 11}}}}) =~ "EAGAIN"
    assert Facts.reason(:other) == ":other"
  end

  defp found(facts, name), do: facts |> Checks.all() |> Enum.find(&(&1.name == name))
  defp usable?(checks), do: not Enum.any?(checks, &(&1.status == :missing))

  defp with_fact(key, value), do: Map.replace!(@healthy, key, value)
  defp without(capability), do: %{@healthy | capabilities: @healthy.capabilities -- [capability]}

  defp failures do
    limited = %{@healthy | initial_user_namespace?: false}

    [
      {with_fact(:os, {:unix, :darwin}), "Linux", :missing, "this is darwin"},
      {with_fact(:kernel, {4, 8, 17}), "Linux", :missing, "4.8.17"},
      {with_fact(:library, {:error, {"no such file", "mix compile"}}), "application", :missing,
       "no such file mix compile"},
      {with_fact(:application, {:error, "why"}), "application", :missing, "why"},
      {with_fact(:security_module, {:other, "Smacked"}), "security module", :optional, "Smacked"},
      {with_fact(:proc_mounted?, false), "/proc", :optional, "mount -t proc"},
      {%{@healthy | proc_mounted?: false, open_home: {:error, "no"}}, "/proc", :missing,
       "mount -t proc"},
      {%{without(:sys_ptrace) | hidepid: "2"}, "/proc", :optional, "hidepid=2"},
      {with_fact(:names, {:error, :enoent}), "/run/netns", :optional, "ip netns add"},
      {without(:sys_admin), "CAP_SYS_ADMIN", :missing, "run as root"},
      {without(:sys_ptrace), "CAP_SYS_PTRACE", :optional, "{:open, 13}"},
      {without(:net_raw), "CAP_NET_RAW", :optional, "{:socket, 1}"},
      {limited, "user namespace", :optional, "{:setns, 1}"},
      {%{@healthy | seccomp: 2, open_home: {:error, "no"}}, "seccomp", :optional, "setns"},
      {with_fact(:max_open_files, 300), "open files", :optional, "ulimit -n"},
      {%{limited | max_processes: 200}, "threads of the user", :optional, "ulimit -u"},
      {with_fact(:pids, {300, 100}), "threads of the cgroup", :optional, "100 of 300"},
      {with_fact(:watcher?, false), "inotify", :optional, "max_user_instances"},
      {with_fact(:inotify, ["0", "9"]), "inotify", :optional, "0 instances"},
      {%{@healthy | open_home: {:error, "no"}}, "open in the own namespace", :optional, "no"},
      {%{@healthy | open_home: {:error, "no"}, open_other: {:error, "no"}},
       "open in the own namespace", :missing, "no"},
      {with_fact(:open_other, {:error, "why"}), "open in another namespace", :missing, "why"},
      {with_fact(:open_other, {:skipped, "why"}), "open in another namespace", :optional, "why"}
    ]
  end
end
