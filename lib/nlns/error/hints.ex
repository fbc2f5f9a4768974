defmodule Nlns.Error.Hints do
  @moduledoc false
  # Lists every cause that an errno has at a step. The sources are
  # open(2), setns(2), socket(2), bind(2), sendmsg(2), path_resolution(7), namespaces(7), netlink(7).

  @files "descriptors are used up; close some, or raise the limit"

  @hints %{
    {:open, 2} =>
      "nothing has this path, or the process behind it has ended; a process that is hidden from this user " <>
        "(hidepid of /proc), or whose main thread has ended, looks the same",
    {:open, 6} => "the path is a device or socket, not a namespace file",
    {:open, 13} =>
      "a directory of the path is not for this user; or /proc/PID/ns/net of a process of another user, or with " <>
        "more capabilities, needs CAP_SYS_PTRACE; or a security module (AppArmor, SELinux) forbids it all the same",
    {:open, 20} => "something on the way is no directory",
    {:open, 22} => "the path has a NUL byte in it",
    {:open, 23} => "the machine's #{@files} (fs.file-max)",
    {:open, 24} => "this process's #{@files} (RLIMIT_NOFILE)",
    {:open, 36} => "the path is longer than 4,095 bytes, or a part of it than 255",
    {:open, 40} => "too many symbolic links on the way",
    {:open, 107} => "the file system that is mounted there has lost its server (FUSE)",
    {:open, 95} =>
      "which process has this number cannot be proven: the kernel does not say (PIDFD_GET_NET_NAMESPACE, Linux " <>
        "6.11), /proc is not that of the VM's pid namespace, and another could not be mounted; " <>
        "mount -t proc proc /proc before the application starts, or use a path",
    {:setns, 1} =>
      "it needs CAP_SYS_ADMIN in the user namespace that owns the network namespace, and in the caller's own; " <>
        "a seccomp filter that refuses setns(2) looks the same",
    {:setns, 22} =>
      "the file is no network namespace; a name that is just being made or deleted looks like this for a moment, " <>
        "and one whose mount does not propagate to this mount namespace for ever",
    {:socket, 1} =>
      "this family or type needs a capability inside the namespace, CAP_NET_RAW for raw ones; or a seccomp " <>
        "filter refuses it",
    {:socket, 11} => "the VM has all the processes that it may have (+P of erl)",
    {:socket, 13} =>
      "an ICMP socket of the type :dgram needs a group of this process in the namespace's " <>
        "net.ipv4.ping_group_range; or a security module (AppArmor, SELinux) forbids the family",
    {:socket, 22} => "the kernel does not know this type, or not with this family",
    {:socket, 23} => "the machine's #{@files} (fs.file-max)",
    {:socket, 24} => "this process's #{@files} (RLIMIT_NOFILE)",
    {:socket, 93} =>
      "the kernel does not have this protocol, or not for this family and type; its module may be missing",
    {:socket, 94} => "the kernel does not have this type for this family",
    {:socket, 97} =>
      "the kernel does not have this family, or a module of it is missing; or a filter on address families " <>
        "refuses it (systemd: RestrictAddressFamilies=)",
    {:thread, 2} =>
      "nlns cannot find the VM's own namespace: /proc is not that of its pid namespace, another could not be " <>
        "mounted (fsmount(2), Linux 5.2), and the kernel does not say (Linux 6.11), or has no network namespaces",
    {:thread, 5} =>
      "a helper could not prove where it was and ended, or Nlns.Native was purged; if it fails a second time " <>
        "too, Nlns.Doctor says what is missing here",
    {:thread, 11} =>
      "the path's queue is full (max_queue), all helpers are blocked (max_helpers), or the system allows no more threads",
    {:thread, 108} => "the application :nlns is not started",
    {:thread, 110} => "no answer within the timeout; Nlns.info/0 tells whether helpers are stuck",
    {:bind, 9} => "there is no such descriptor, or its socket is closed",
    {:bind, 22} => "it is no netlink socket, or it is bound already; bind(2) works once",
    {:bind, 88} => "it is a file, not a socket",
    {:bind, 97} => "it is no netlink socket",
    {:handle, 9} =>
      "it was taken or closed before, or its request was cancelled; a handle gives its descriptor once",
    {:send, 1} => "this protocol is not for this user",
    {:send, 22} => "the request is not made of whole messages",
    {:send, 90} =>
      "it is larger than the socket may send (net.core.wmem_max, unless CAP_NET_ADMIN raises it)",
    {:send, 111} =>
      "the kernel does not have this netlink protocol, or not in this namespace, or a module of it is missing",
    {:receive, 4} => "the dump changed under each of five attempts",
    {:receive, 12} => "there is no memory for it",
    {:receive, 27} => "it is larger than max_reply",
    {:receive, 74} => "it is no netlink message",
    {:receive, 90} => "one datagram of it is larger than its buffer",
    {:receive, 105} => "the kernel had no room for a part of it; ask for less at once"
  }

  @doc "Returns the causes of a reason in words, or nil."
  @spec hint({atom(), integer()}) :: String.t() | nil
  def hint(reason), do: @hints[reason]

  @doc "Lists every reason with a hint."
  @spec reasons() :: [{atom(), integer()}]
  def reasons, do: Map.keys(@hints)
end
