defmodule Nlns.Soak.Census do
  @moduledoc false
  # What the kernel holds for this process, to be compared with what it held before.

  alias Nlns.{Netns, Proc}

  @limit "/proc/sys/user/max_net_namespaces"
  @no_limit 100_000

  @enforce_keys [:descriptors, :threads, :outside, :namespaces, :rss_kib]
  defstruct @enforce_keys

  @doc """
  Everything that is counted, when nothing is going on. The kernel tears namespaces down when it has
  time: with `namespaces`, a count to come back to, it is given some.
  """
  def state(namespaces \\ nil) do
    Enum.each(Process.list(), &:erlang.garbage_collect/1)

    %__MODULE__{
      descriptors: Proc.descriptor_kinds(),
      threads: Enum.frequencies_by(Proc.threads(), & &1.name),
      outside: length(Proc.threads_outside()),
      namespaces: namespaces_back_at(namespaces),
      rss_kib: rss_kib()
    }
  end

  @doc """
  How many network namespaces exist that were made in this user namespace, whatever holds them: names,
  threads, sockets, descriptors, and those that the kernel has not finished tearing down.

  The kernel counts them for the limit of namespaces(7), and the lowest limit under which one more can
  be made is one above that count. Counting upwards, no probe but the last makes one. NB: in a user
  namespace of one's own, where nobody else makes any.
  """
  def namespaces(count \\ 0) do
    cond do
      at_most_namespaces?(count) -> count
      count < 10_000 -> namespaces(count + 1)
    end
  end

  defp namespaces_back_at(nil), do: namespaces()

  # Only a probe that succeeds makes one, which is in the way of a count that follows it at once.
  defp namespaces_back_at(count) do
    if eventually(fn -> at_most_namespaces?(count) end), do: count, else: namespaces()
  end

  defp at_most_namespaces?(count) do
    File.write!(@limit, "#{count + 1}")
    {_, status} = System.cmd("unshare", ~w(--net true), stderr_to_stdout: true)
    File.write!(@limit, "#{@no_limit}")
    status == 0
  end

  @doc "Raises where that does not count: what was one more must be one more, and then one less."
  def check!(before) do
    path = Netns.add()
    false = at_most_namespaces?(before)
    Netns.del(path)
    true = eventually(fn -> at_most_namespaces?(before) end)
  end

  @doc "Resident memory."
  def rss_kib do
    [_, kib] = Regex.run(~r/^VmRSS:\s+(\d+) kB/m, File.read!("/proc/self/status"))
    String.to_integer(kib)
  end

  @doc "Looks until `fun` is true, for at most so many ms."
  def eventually(fun, ms \\ 60_000),
    do: poll(fun, System.monotonic_time(:millisecond) + Nlns.Patience.within(ms))

  defp poll(fun, deadline) do
    cond do
      fun.() -> true
      System.monotonic_time(:millisecond) > deadline -> false
      true -> Process.sleep(20) && poll(fun, deadline)
    end
  end
end
