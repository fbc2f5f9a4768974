defmodule Nlns.Proc do
  @moduledoc "What the kernel says about this process, from proc(5)."

  # O_CLOEXEC as fdinfo shows it, fcntl.h.
  @cloexec 0o2000000

  @doc "Every open descriptor and what it leads to."
  @spec descriptors() :: %{non_neg_integer() => String.t()}
  def descriptors do
    for fd <- ls("/proc/self/fd"), {:ok, to} <- [link("/proc/self/fd/#{fd}")], into: %{} do
      {String.to_integer(fd), to}
    end
  end

  @doc "How many descriptors there are of each kind; sockets and pipes count as one kind each."
  @spec descriptor_kinds() :: %{String.t() => pos_integer()}
  def descriptor_kinds do
    Enum.frequencies_by(
      Map.values(descriptors()),
      &String.replace(&1, ~r/^(\w+):\[\d+\]$/, "\\1")
    )
  end

  @doc "How many sockets this process has open."
  @spec sockets() :: non_neg_integer()
  def sockets, do: Map.get(descriptor_kinds(), "socket", 0)

  @doc "What a descriptor leads to, `nil` if it is closed."
  @spec descriptor(non_neg_integer()) :: String.t() | nil
  def descriptor(fd) do
    case link("/proc/self/fd/#{fd}") do
      {:ok, to} -> to
      {:error, _} -> nil
    end
  end

  @doc "The descriptor of a file that is open once."
  @spec descriptor_of(Path.t()) :: non_neg_integer()
  def descriptor_of(path) do
    [fd] = for {fd, ^path} <- descriptors(), do: fd
    fd
  end

  @spec cloexec?(non_neg_integer()) :: boolean()
  def cloexec?(fd) do
    [_, flags] = Regex.run(~r/^flags:\s*([0-7]+)$/m, File.read!("/proc/self/fdinfo/#{fd}"))
    Bitwise.band(String.to_integer(flags, 8), @cloexec) != 0
  end

  @doc "The namespace of the VM: its main thread's."
  @spec home() :: String.t()
  def home, do: File.read_link!("/proc/self/ns/net")

  @doc "Every thread: its id, its name and the network namespace it is in."
  @spec threads() :: [%{tid: String.t(), name: String.t(), netns: String.t()}]
  def threads do
    # The name is read last: a thread has its creator's until it begins to run.
    for tid <- ls("/proc/self/task"),
        {:ok, netns} <- [link("/proc/self/task/#{tid}/ns/net")],
        {:ok, name} <- [:prim_file.read_file("/proc/self/task/#{tid}/comm")] do
      %{tid: tid, name: String.trim_trailing(name), netns: netns}
    end
  end

  @doc "The threads of the pool."
  def pool_threads, do: Enum.filter(threads(), &String.starts_with?(&1.name, "nlns"))

  @doc "The state of a thread as proc(5) has it: \"D\" while it waits in the kernel and for no signal."
  @spec state(String.t()) :: String.t() | nil
  def state(tid) do
    with {:ok, stat} <- :prim_file.read_file("/proc/self/task/#{tid}/stat") do
      [_, rest] = String.split(stat, ") ", parts: 2)
      String.first(rest)
    else
      {:error, _} -> nil
    end
  end

  @doc "The helper threads."
  def helper_threads, do: Enum.filter(threads(), &(&1.name == "nlns-helper"))

  @doc "The threads that are not in the VM's namespace."
  def threads_outside do
    home = home()
    Enum.reject(threads(), &(&1.netns == home))
  end

  @doc "How many threads are in the namespace that `path` names."
  @spec threads_in(Path.t()) :: non_neg_integer()
  def threads_in(path), do: hd(threads_in_each([path]))

  @doc "The same for each of some paths."
  @spec threads_in_each([Path.t()]) :: [non_neg_integer()]
  def threads_in_each(paths) do
    count = Enum.frequencies_by(threads(), & &1.netns)
    for path <- paths, do: Map.get(count, "net:[#{File.stat!(path).inode}]", 0)
  end

  # Not by the file server, one process that is asked once per thread and descriptor.
  defp ls(directory) do
    {:ok, names} = :prim_file.list_dir(directory)
    Enum.map(names, &to_string/1)
  end

  defp link(path) do
    with {:ok, to} <- :prim_file.read_link_all(path), do: {:ok, IO.chardata_to_string(to)}
  end
end
