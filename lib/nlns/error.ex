defmodule Nlns.Error do
  @moduledoc false
  # Every reason as a sentence. What each errno means at a step is from open(2), setns(2), socket(2),
  # path_resolution(7) and namespaces(7).

  alias Nlns.Native

  @steps %{
    open: "opening the namespace file",
    setns: "entering the namespace",
    socket: "making the socket",
    thread: "asking a helper"
  }

  # Only the names that the pool and the three system calls are known to give.
  @names %{
    1 => "EPERM",
    2 => "ENOENT",
    5 => "EIO",
    6 => "ENXIO",
    9 => "EBADF",
    11 => "EAGAIN",
    12 => "ENOMEM",
    13 => "EACCES",
    20 => "ENOTDIR",
    22 => "EINVAL",
    23 => "ENFILE",
    24 => "EMFILE",
    36 => "ENAMETOOLONG",
    38 => "ENOSYS",
    40 => "ELOOP",
    88 => "ENOTSOCK",
    93 => "EPROTONOSUPPORT",
    94 => "ESOCKTNOSUPPORT",
    97 => "EAFNOSUPPORT",
    105 => "ENOBUFS",
    108 => "ESHUTDOWN",
    110 => "ETIMEDOUT"
  }

  @files "descriptors are used up; close some, or raise the limit"

  @hints %{
    {:open, 2} => "nothing has this path, or the process behind it has ended",
    {:open, 6} => "the path is a device or socket, not a namespace file",
    {:open, 13} =>
      "a directory of the path, or the other user's process behind it, is not for this user; " <>
        "/proc/PID/ns/net of another user's process needs CAP_SYS_PTRACE",
    {:open, 20} => "something on the way is no directory",
    {:open, 22} => "the path has a NUL byte in it",
    {:open, 23} => "the machine's #{@files} (fs.file-max)",
    {:open, 24} => "this process's #{@files} (RLIMIT_NOFILE)",
    {:open, 36} => "the path is longer than 4,095 bytes, or a part of it than 255",
    {:open, 40} => "too many symbolic links on the way",
    {:setns, 1} =>
      "it needs CAP_SYS_ADMIN in the user namespace that owns the network namespace, and in the caller's own",
    {:setns, 22} =>
      "the file is no network namespace; a name that is just being made or deleted looks like this for a moment",
    {:socket, 1} =>
      "this family or type needs a capability inside the namespace, CAP_NET_RAW for raw ones",
    {:socket, 22} => "the kernel does not know this type, or not with this family",
    {:socket, 23} => "the machine's #{@files} (fs.file-max)",
    {:socket, 24} => "this process's #{@files} (RLIMIT_NOFILE)",
    {:socket, 93} => "the kernel does not have this protocol, or not for this family and type",
    {:socket, 94} => "the kernel does not have this type for this family",
    {:socket, 97} => "the kernel does not have this family",
    {:thread, 5} =>
      "the helper found itself in doubt about where it was and ended, or Nlns.Native was purged; ask again",
    {:thread, 11} =>
      "the path's queue is full (max_queue), all helpers are blocked (max_helpers), or the system allows no more threads",
    {:thread, 108} => "the application :nlns is not started",
    {:thread, 110} => "no answer within the timeout; Nlns.info/0 tells whether helpers are stuck"
  }

  # The atoms that `:socket` answers for errnos when it adopts a descriptor; EINVAL for its own.
  @errnos %{emfile: 24, enfile: 23, enomem: 12, enobufs: 105, ebadf: 9, enotsock: 88}

  @spec errno(atom()) :: integer()
  def errno(name), do: Map.get(@errnos, name, 22)

  @spec format(Nlns.reason()) :: String.t()
  def format({stage, errno} = reason) when is_map_key(@steps, stage) and is_integer(errno) do
    text = "#{@steps[stage]}: #{words(errno)} (#{@names[errno] || errno})"

    case @hints do
      %{^reason => hint} -> text <> ": " <> hint
      _ -> text
    end
  end

  def format(reason) do
    raise ArgumentError, "expected {stage, errno}, got: #{inspect(reason)}"
  end

  # C's int; nothing beyond it is an errno.
  defp words(errno) when errno in -2_147_483_648..2_147_483_647, do: Native.strerror(errno)
  defp words(errno), do: "Unknown error #{errno}"
end
