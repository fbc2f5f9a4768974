defmodule Nlns.DoctorChecksTest do
  use ExUnit.Case, async: true

  alias Nlns.Doctor
  alias Nlns.Doctor.{Cgroup, Facts}

  # A machine on which nothing is wrong.
  @healthy %{
    os: {:unix, :linux},
    kernel: {6, 18, 0},
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
    user_namespaces: :allowed,
    max_open_files: 1024,
    max_processes: 1000,
    pids: nil,
    inotify: {128, 65_536},
    watcher?: true,
    open_home: :ok,
    open_other: :ok
  }

  test "a healthy machine has only ok, and no hints" do
    checks = Doctor.checks(@healthy)
    assert Enum.uniq(Enum.map(checks, & &1.status)) == [:ok]
    assert Enum.uniq(Enum.map(checks, & &1.hint)) == [nil]
    assert Doctor.usable?(checks)
  end

  test "every check that is not ok has a hint" do
    for {facts, _name, _status, _text} <- failures(), check <- Doctor.checks(facts) do
      assert check.status == :ok or is_binary(check.hint), inspect(check)
    end
  end

  test "each failure is found, weighed and explained" do
    for {facts, name, status, text} <- failures() do
      checks = Doctor.checks(facts)
      assert [check] = Enum.filter(checks, &(&1.name == name)), name
      assert check.status == status, inspect(check)
      assert "#{check.found} #{check.hint}" =~ text, inspect(check)
      assert Doctor.usable?(checks) == (status == :optional)
    end
  end

  test "without /proc nothing is said about what is read there" do
    names = for check <- Doctor.checks(with_fact(:proc_mounted?, false)), do: check.name
    assert "/proc" in names
    refute "CAP_SYS_ADMIN" in names
    refute "open files" in names
  end

  test "who lacks CAP_SYS_ADMIN is told how to try nlns without it" do
    checks = Doctor.checks(%{@healthy | capabilities: []})
    assert Enum.find(checks, &(&1.name == "CAP_SYS_ADMIN")).hint =~ "unshare -Urnm"
  end

  test "hints are wrapped, plain without a terminal, coloured on one" do
    checks = Doctor.checks(%{@healthy | capabilities: []})
    plain = IO.iodata_to_binary(Doctor.format(checks, false))
    refute plain =~ "\e["
    assert plain =~ ~r/^missing   CAP_SYS_ADMIN /m
    assert plain =~ "\nnlns cannot be used here: 1 requirement is missing.\n"
    # What can be copied is in one line.
    assert plain =~ ~r/^ +.*`unshare -Urnm sh -c '.*exec sh'`$/m
    for line <- String.split(plain, "\n"), do: assert(String.length(line) <= 100)

    assert IO.iodata_to_binary(Doctor.format(checks, true)) =~ "\e[31mmissing"
  end

  test "what proc(5) shows is read as it is meant" do
    limits = """
    Limit                     Soft Limit           Hard Limit           Units
    Max processes             unlimited            unlimited            processes
    Max open files            1024                 1048576              files
    """

    assert Facts.limit(limits, "Max open files") == 1024
    assert Facts.limit(limits, "Max processes") == :unlimited
    assert Facts.limit("", "Max processes") == nil
  end

  test "user namespaces are forbidden in three ways" do
    only = fn name, value -> &if(&1 == name, do: value, else: "") end
    assert Facts.user_namespaces(only.("user.max_user_namespaces", "0")) |> elem(0) == :forbidden
    assert Facts.user_namespaces(only.("kernel.unprivileged_userns_clone", "1")) == :allowed

    apparmor = "kernel.apparmor_restrict_unprivileged_userns"
    assert Facts.user_namespaces(only.(apparmor, "1")) == {:forbidden, apparmor <> "=1"}
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

    read = &with(:error <- Map.fetch(files, &1), do: {:error, :enoent})
    assert Cgroup.pids("0::/a/b/c\n", read) == {100, 90}
    assert Cgroup.pids("9:name=systemd:/\n8:pids:/old\n0::/\n", read) == {7, 1}
    assert Cgroup.pids("0::/\n", read) == nil
    assert Cgroup.pids("", read) == nil
  end

  test "a wrong setting is repeated in its own words" do
    error = %ArgumentError{message: "config :nlns, idle_timeout: expected ..., got: -1"}
    reason = {:bad_return, {{Nlns.Application, :start, [:normal, []]}, {:EXIT, {error, []}}}}
    assert Facts.reason(reason) == error.message

    assert Facts.reason({:bad_return, {:x, {:error, {:thread, 11}}}}) =~ "EAGAIN"
    assert Facts.reason(:other) == ":other"
  end

  defp with_fact(key, value), do: Map.replace!(@healthy, key, value)
  defp without(capability), do: %{@healthy | capabilities: @healthy.capabilities -- [capability]}

  defp failures do
    limited = %{@healthy | initial_user_namespace?: false}

    [
      {with_fact(:os, {:unix, :darwin}), "Linux", :missing, "this is darwin"},
      {with_fact(:kernel, {3, 16, 9}), "Linux", :missing, "3.16.9"},
      {with_fact(:kernel, {4, 19, 0}), "following processes", :optional, "pidfd_open"},
      {with_fact(:kernel, {5, 13, 9}), "proof per socket", :optional, "SO_NETNS_COOKIE"},
      {with_fact(:kernel, {6, 11, 0}), "short time slices", :optional, "6.12"},
      {with_fact(:kernel, {6, 17, 0}), "proof without looking up", :optional, "NS_GET_ID"},
      {with_fact(:library, {:error, {"no such file", "mix compile"}}), "native library", :missing,
       "no such file mix compile"},
      {with_fact(:application, {:error, "why"}), "application", :missing, "why"},
      {with_fact(:proc_mounted?, false), "/proc", :missing, "mount -t proc"},
      {%{without(:sys_ptrace) | hidepid: "2"}, "/proc", :optional, "hidepid=2"},
      {with_fact(:names, {:error, :enoent}), "/run/netns", :optional, "ip netns add"},
      {without(:sys_admin), "CAP_SYS_ADMIN", :missing, "--cap-add SYS_ADMIN"},
      {without(:sys_ptrace), "CAP_SYS_PTRACE", :optional, "{:open, 13}"},
      {without(:net_raw), "CAP_NET_RAW", :optional, "{:socket, 1}"},
      {limited, "user namespace", :optional, "{:setns, 1}"},
      {%{@healthy | seccomp: 2, open_home: {:error, "no"}}, "seccomp", :optional, "setns"},
      {with_fact(:max_open_files, 300), "open files", :optional, "ulimit -n"},
      {%{limited | max_processes: 200}, "threads of the user", :optional, "ulimit -u"},
      {with_fact(:pids, {300, 100}), "threads of the cgroup", :optional, "100 of 300"},
      {with_fact(:watcher?, false), "inotify", :optional, "max_user_instances"},
      {with_fact(:inotify, {0, 9}), "inotify", :optional, "0 instances"},
      {%{@healthy | open_home: {:error, "no"}}, "open in the own namespace", :optional, "no"},
      {%{@healthy | open_home: {:error, "no"}, open_other: {:error, "no"}},
       "open in the own namespace", :missing, "no"},
      {with_fact(:open_other, {:error, "why"}), "open in another namespace", :missing, "why"},
      {with_fact(:open_other, {:skipped, "why"}), "open in another namespace", :optional, "why"}
    ]
  end
end
