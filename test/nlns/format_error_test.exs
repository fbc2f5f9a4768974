defmodule Nlns.FormatErrorTest do
  use Nlns.NetnsCase
  @moduletag netns: false
  doctest Nlns, only: [format_error: 1, format_error: 2]

  @sentences [
    {{:open, 2},
     "opening the namespace file: No such file or directory (ENOENT): nothing has this path, or the process behind it has ended; a process that is hidden from this user (hidepid of /proc), or whose main thread has ended, looks the same"},
    {{:open, 6},
     "opening the namespace file: No such device or address (ENXIO): the path is a device or socket, not a namespace file"},
    {{:open, 13},
     "opening the namespace file: Permission denied (EACCES): a directory of the path is not for this user; or /proc/PID/ns/net of a process of another user, or with more capabilities, needs CAP_SYS_PTRACE; or a security module (AppArmor, SELinux) forbids it all the same"},
    {{:open, 20},
     "opening the namespace file: Not a directory (ENOTDIR): something on the way is no directory"},
    {{:open, 22},
     "opening the namespace file: Invalid argument (EINVAL): the path has a NUL byte in it"},
    {{:open, 24},
     "opening the namespace file: Too many open files (EMFILE): this process's descriptors are used up; close some, or raise the limit (RLIMIT_NOFILE)"},
    {{:open, 36},
     "opening the namespace file: File name too long (ENAMETOOLONG): the path is longer than 4,095 bytes, or a part of it than 255"},
    {{:open, 95},
     "opening the namespace file: Operation not supported (EOPNOTSUPP): which process has this number cannot be proven: the kernel does not say (PIDFD_GET_NET_NAMESPACE, Linux 6.11), /proc is not that of the VM's pid namespace, and another could not be mounted; mount -t proc proc /proc before the application starts, or use a path"},
    {{:setns, 1},
     "entering the namespace: Operation not permitted (EPERM): it needs CAP_SYS_ADMIN in the user namespace that owns the network namespace, and in the caller's own; a seccomp filter that refuses setns(2) looks the same"},
    {{:setns, 22},
     "entering the namespace: Invalid argument (EINVAL): the file is no network namespace; a name that is just being made or deleted looks like this for a moment, and one whose mount does not propagate to this mount namespace for ever"},
    {{:socket, 24},
     "making the socket: Too many open files (EMFILE): this process's descriptors are used up; close some, or raise the limit (RLIMIT_NOFILE)"},
    {{:socket, 93},
     "making the socket: Protocol not supported (EPROTONOSUPPORT): the kernel does not have this protocol, or not for this family and type; its module may be missing"},
    {{:socket, 1},
     "making the socket: Operation not permitted (EPERM): this family or type needs a capability inside the namespace, CAP_NET_RAW for raw ones; or a seccomp filter refuses it"},
    {{:socket, 11},
     "making the socket: Resource temporarily unavailable (EAGAIN): the VM has all the processes that it may have (+P of erl)"},
    {{:socket, 13},
     "making the socket: Permission denied (EACCES): an ICMP socket of the type :dgram needs a group of this process in the namespace's net.ipv4.ping_group_range; or a security module (AppArmor, SELinux) forbids the family"},
    {{:socket, 97},
     "making the socket: Address family not supported by protocol (EAFNOSUPPORT): the kernel does not have this family, or a module of it is missing; or a filter on address families refuses it (systemd: RestrictAddressFamilies=)"},
    {{:thread, 2},
     "asking a helper: No such file or directory (ENOENT): nlns cannot find the VM's own namespace: /proc is not that of its pid namespace, another could not be mounted (fsmount(2), Linux 5.2), and the kernel does not say (Linux 6.11), or has no network namespaces"},
    {{:thread, 5},
     "asking a helper: Input/output error (EIO): a helper could not prove where it was and ended, or Nlns.Native was purged; if it fails a second time too, Nlns.Doctor says what is missing here"},
    {{:thread, 11},
     "asking a helper: Resource temporarily unavailable (EAGAIN): the path's queue is full (max_queue), all helpers are blocked (max_helpers), or the system allows no more threads"},
    {{:thread, 108},
     "asking a helper: Cannot send after transport endpoint shutdown (ESHUTDOWN): the application :nlns is not started"},
    {{:thread, 110},
     "asking a helper: Connection timed out (ETIMEDOUT): no answer within the timeout; Nlns.info/0 tells whether helpers are stuck"}
  ]

  for {reason, sentence} <- @sentences do
    test "#{inspect(reason)} is a sentence that says what to do" do
      assert Nlns.format_error(unquote(reason)) == unquote(sentence)
    end
  end

  test "an errno without advice has at least the kernel's words" do
    assert Nlns.format_error({:setns, 12}) ==
             "entering the namespace: Cannot allocate memory (ENOMEM)"

    assert Nlns.format_error({:socket, 4}) == "making the socket: Interrupted system call (EINTR)"
    assert Nlns.format_error({:open, 99_999}) =~ "99999"
    assert Nlns.format_error({:open, -1}) =~ "-1"
    for n <- [5_000_000_000, -5_000_000_000], do: assert(Nlns.format_error({:open, n}) =~ "#{n}")
  end

  test "the kernel's own answer to a netlink request is told in its words" do
    details = %{message: "Invalid link mode", offset: 36, index: 2}

    assert Nlns.format_error({:netlink, 22, details}) ==
             "the kernel refused the netlink request: Invalid argument (EINVAL): Invalid link mode (at byte 36 of request 2)"

    plain = %{message: nil, offset: nil, index: 0}

    assert Nlns.format_error({:netlink, 95, plain}) ==
             "the kernel refused the netlink request: Operation not supported (EOPNOTSUPP)"

    assert Nlns.format_error({:netlink, 22, %{details | index: 0}}) =~
             "(at byte 36 of the request)"

    assert Nlns.format_error({:netlink, 95, %{plain | index: 1}}) =~ "(EOPNOTSUPP) (request 1)"

    error = Nlns.Error.exception({:netlink, 22, details})
    assert %{stage: :netlink, errno: 22, reason: :einval, details: ^details} = error
    assert Exception.message(error) == Nlns.format_error({:netlink, 22, details})

    assert Nlns.format_error({:netlink, 22, details}, "/x") ==
             Nlns.format_error({:netlink, 22, details})

    assert Nlns.format_error({:send, 111}) =~ "netlink protocol"
  end

  test "every hint is one sentence, of a step and an errno with a name" do
    for reason <- Nlns.Error.Hints.reasons() do
      assert Nlns.format_error(reason) =~ ~r/^[a-z][^:]+: [A-Z][^(]+ \(E[A-Z]+\): .*[^.]$/
    end
  end

  test "errnos that are answered by name have one" do
    for {errno, name} <- [{9, "EBADF"}, {38, "ENOSYS"}, {88, "ENOTSOCK"}] do
      assert Nlns.format_error({:socket, errno}) =~ "(#{name})"
    end
  end

  test "every answer of the library has a sentence" do
    for {path, protocol} <- [{"/not/there", 0}, {"/dev/null", 0}, {"/proc/self/ns/net", 999}] do
      assert {:error, {_stage, _errno} = reason} = Nlns.open_in_netns(path, protocol)
      assert Nlns.format_error(reason) =~ ~r/^\w[^:]+: [A-Z][^(]+ \(E[A-Z]+\): \w/
    end
  end

  test "a long path takes little memory" do
    path = String.duplicate("/a", 100_000)

    {pid, monitor} =
      spawn_monitor(fn ->
        # In words: a hundred times the path.
        Process.flag(:max_heap_size, %{size: 2_500_000, kill: true, error_logger: false})
        assert Nlns.format_error({:open, 36}, path) =~ "ENAMETOOLONG"
      end)

    assert_receive {:DOWN, ^monitor, :process, ^pid, :normal}, within()
  end
end
