defmodule Nlns.Doctor.Machine do
  @moduledoc false
  # The kernel, and what must be mounted.

  import Nlns.Doctor, only: [check: 3, check: 4]

  # /proc/thread-self, by which a helper proves where it is, is younger than setns(2) (3.0).
  @oldest_kernel {3, 17}

  @kernel_features [
    {{5, 3}, "following processes",
     "needs pidfd_open(2), Linux 5.3: {:pid, pid} means whoever has the number when it is served, and " <>
       "a helper in the namespace of a process that ends stays there for up to a second"},
    {{5, 14}, "proof per socket",
     "needs SO_NETNS_COOKIE, Linux 5.14: the namespace is proven once per entry, not for every socket"},
    {{6, 12}, "short time slices",
     "needs Linux 6.12: on a machine whose cores are all busy an open takes milliseconds"},
    {{6, 18}, "proof without looking up",
     "needs NS_GET_ID, Linux 6.18: entering a namespace costs one look into /proc more"}
  ]

  @spec checks(map()) :: [Nlns.Doctor.check()]
  def checks(facts) do
    [system(facts)] ++ kernel_features(facts) ++ [proc(facts), names(facts)]
  end

  defp system(%{os: {:unix, :linux}, kernel: kernel}) do
    status = if since?(kernel, @oldest_kernel), do: :ok, else: :missing
    check("Linux", status, version(kernel), "needs Linux #{version(@oldest_kernel)} or newer")
  end

  defp system(%{os: {_family, name}}) do
    check("Linux", :missing, "this is #{name}", "network namespaces are a part of Linux")
  end

  defp kernel_features(%{os: {:unix, :linux}, kernel: kernel}) do
    for {since, name, lost} <- @kernel_features do
      if since?(kernel, since),
        do: check(name, :ok, "Linux #{version(since)}"),
        else: check(name, :optional, "not in this kernel", lost)
    end
  end

  defp kernel_features(_facts), do: []

  defp since?(kernel, {major, minor}) when is_tuple(kernel), do: kernel >= {major, minor, 0}
  # Not numbers, so a kernel that somebody built: what it lacks, the trial at the end shows.
  defp since?(_kernel, _since), do: true

  defp version(version) when is_tuple(version), do: version |> Tuple.to_list() |> Enum.join(".")
  defp version(version), do: to_string(version)

  defp proc(%{proc_mounted?: false}) do
    hint = "mount -t proc proc /proc: without it nlns does not know its own namespace"
    check("/proc", :missing, "not mounted", hint)
  end

  defp proc(%{hidepid: hidepid, capabilities: capabilities}) do
    if hidepid == nil or :sys_ptrace in capabilities do
      check("/proc", :ok, "mounted")
    else
      hint =
        "other users' processes cannot be named; CAP_SYS_PTRACE or the mount's gid= lets this user"

      check("/proc", :optional, "mounted with hidepid=#{hidepid}", hint)
    end
  end

  defp names(%{names: {:ok, count}}), do: check("/run/netns", :ok, "#{count} name(s)")

  defp names(%{names: {:error, reason}}) do
    hint =
      "{:name, name} finds nothing. `ip netns add` makes the directory; in a container mount the " <>
        "host's, so that new names arrive: -v /run/netns:/run/netns:rslave"

    check("/run/netns", :optional, to_string(:file.format_error(reason)), hint)
  end
end
