defmodule Nlns.FormatErrorTest do
  use Nlns.NetnsCase
  doctest Nlns, only: [format_error: 1]

  @sentences [
    {{:open, 2},
     "opening the namespace file: No such file or directory (ENOENT): nothing has this path, or the process behind it has ended"},
    {{:open, 6},
     "opening the namespace file: No such device or address (ENXIO): the path is a device or socket, not a namespace file"},
    {{:open, 13},
     "opening the namespace file: Permission denied (EACCES): a directory of the path, or the other user's process behind it, is not for this user; /proc/PID/ns/net of another user's process needs CAP_SYS_PTRACE"},
    {{:open, 20},
     "opening the namespace file: Not a directory (ENOTDIR): something on the way is no directory"},
    {{:open, 22},
     "opening the namespace file: Invalid argument (EINVAL): the path has a NUL byte in it"},
    {{:open, 24},
     "opening the namespace file: Too many open files (EMFILE): this process's descriptors are used up; close some, or raise the limit (RLIMIT_NOFILE)"},
    {{:open, 36},
     "opening the namespace file: File name too long (ENAMETOOLONG): the path is longer than 4,095 bytes, or a part of it than 255"},
    {{:setns, 1},
     "entering the namespace: Operation not permitted (EPERM): it needs CAP_SYS_ADMIN in the user namespace that owns the network namespace, and in the caller's own"},
    {{:setns, 22},
     "entering the namespace: Invalid argument (EINVAL): the file is no network namespace; a name that is just being made or deleted looks like this for a moment"},
    {{:socket, 24},
     "making the socket: Too many open files (EMFILE): this process's descriptors are used up; close some, or raise the limit (RLIMIT_NOFILE)"},
    {{:socket, 93},
     "making the socket: Protocol not supported (EPROTONOSUPPORT): the kernel does not have this protocol, or not for this family and type"},
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

  test "what is answered by name has one" do
    for {errno, name} <- [{9, "EBADF"}, {38, "ENOSYS"}, {88, "ENOTSOCK"}] do
      assert Nlns.format_error({:socket, errno}) =~ "(#{name})"
    end
  end

  test "what the library answers it can also say" do
    for {path, protocol} <- [{"/not/there", 0}, {"/dev/null", 0}, {"/proc/self/ns/net", 999}] do
      assert {:error, {_stage, _errno} = reason} = Nlns.open_in_netns(path, protocol)
      assert Nlns.format_error(reason) =~ ~r/^\w[^:]+: [A-Z][^(]+ \(E[A-Z]+\): \w/
    end
  end
end
