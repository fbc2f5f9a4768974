defmodule Nlns.Doctor.Checks do
  @moduledoc false
  # Judges the facts: one check for each thing that nlns needs or profits from.

  import Nlns.Doctor.Check

  alias Nlns.Doctor.{Check, Limits}

  # The oldest that nlns was tried on. A socket tells its namespace since 4.10; before, /proc does.
  @oldest_kernel {4, 9, 0}

  @spec all(map()) :: [Check.t()]
  def all(facts) do
    # Most is read under /proc.
    of_process =
      if facts.proc_mounted?,
        do: [&capabilities/1, &user_namespace/1, &seccomp/1, &security_module/1, &Limits.checks/1],
        else: []

    ([&linux/1, &application/1, &features/1, &mounts/1] ++ of_process ++ [&opens/1])
    |> Enum.flat_map(& &1.(facts))
  end

  defp linux(%{os: {:unix, :linux}, kernel: kernel}) do
    # A kernel of one's own may have no version numbers. The opens show what it lacks.
    enough? = not is_tuple(kernel) or kernel >= @oldest_kernel

    [
      check(
        "Linux",
        enough?,
        version(kernel),
        "needs #{version(@oldest_kernel)} or newer",
        :missing
      )
    ]
  end

  defp linux(%{os: {_family, name}}),
    do: [
      check("Linux", false, "this is #{name}", "network namespaces are a part of Linux", :missing)
    ]

  defp version(version) when is_tuple(version), do: version |> Tuple.to_list() |> Enum.join(".")
  defp version(version), do: to_string(version)

  defp application(facts) do
    {found, hint} =
      case {facts.library, facts.application} do
        {{:error, {found, hint}}, _} -> {found, hint}
        {{:ok, path}, :ok} -> {"started, with #{path}", nil}
        {{:ok, _path}, {:error, text}} -> {"does not start", text}
      end

    [check("application", hint == nil, found, hint, :missing)]
  end

  defp features(facts) do
    for %{name: name, since: {major, minor}, gives: gives, stand_in: stand_in, is_there: there?} <-
          facts.features do
      found = if there?, do: gives, else: missing({major, minor, 0}, facts.kernel)
      check(name, there?, found, "#{gives}. Instead: #{stand_in}")
    end
  end

  defp missing({major, minor, _} = since, kernel) when is_tuple(kernel) and kernel >= since,
    do:
      "refused here by a missing privilege, a filter or an emulator; Linux has it since #{major}.#{minor}"

  defp missing({major, minor, _}, _kernel), do: "not here; since Linux #{major}.#{minor}"

  defp mounts(facts) do
    names =
      case facts.names do
        {:ok, count} -> "#{count} name(s)"
        {:error, reason} -> to_string(:file.format_error(reason))
      end

    [
      proc(facts),
      check(
        "/run/netns",
        match?({:ok, _}, facts.names),
        names,
        "{:name, name} finds nothing. `ip netns add` makes the directory; in a container mount the host's, so " <>
          "that new names arrive: -v /run/netns:/run/netns:rslave"
      )
    ]
  end

  defp proc(%{proc_mounted?: false} = facts) do
    {lost, otherwise} =
      case facts.open_home do
        :ok ->
          {"paths below it lead nowhere, and what is read there is not checked here", :optional}

        _ ->
          {"without it nlns does not know its own namespace", :missing}
      end

    check("/proc", false, "not mounted", "#{lost}: mount -t proc proc /proc", otherwise)
  end

  defp proc(%{hidepid: hidepid, capabilities: capabilities}) do
    seen? = hidepid == nil or :sys_ptrace in capabilities
    found = if hidepid, do: "mounted with hidepid=#{hidepid}", else: "mounted"

    hint =
      "other users' processes cannot be named; CAP_SYS_PTRACE or the mount's gid= lets this user"

    check("/proc", seen?, found, hint)
  end

  defp capabilities(facts) do
    unshare =
      if facts.userns_forbidden_by,
        do:
          "(a user namespace would do to try nlns, but #{facts.userns_forbidden_by} forbids it)",
        else:
          "(to try nlns as a plain user: `unshare -Urnm sh -c 'mount -t tmpfs none /run && mkdir /run/netns && exec sh'`)"

    [
      capability(
        :sys_admin,
        facts,
        "nlns enters no namespace without it",
        :missing,
        " " <> unshare
      ),
      capability(
        :sys_ptrace,
        facts,
        "/proc/PID/ns/net of other users' processes answers {:open, 13}; names work"
      ),
      capability(
        :net_raw,
        facts,
        "`:raw` and `:packet` sockets answer {:socket, 1}; netlink, TCP and UDP work"
      )
    ]
  end

  defp capability(capability, facts, lost, otherwise \\ :optional, more \\ "") do
    short = capability |> to_string() |> String.upcase()

    # It is in the bounding set, so the container has it already. The hint must not ask for it again.
    way_out =
      if capability in facts.bounding,
        do:
          "It may be had: run as root (in a container without --user, which makes none of --cap-add effective), " <>
            "or setcap on the VM's file; systemd: AmbientCapabilities=CAP_#{short}",
        else: "docker: --cap-add #{short}; systemd: AmbientCapabilities=CAP_#{short}"

    found = if capability in facts.capabilities, do: "effective", else: "not effective"
    check("CAP_#{short}", found == "effective", found, "#{lost}. #{way_out}#{more}", otherwise)
  end

  defp user_namespace(%{initial_user_namespace?: initial?}) do
    found = if initial?, do: "the machine's own", else: "one of its own"

    hint =
      "it can enter the namespaces made inside it, and none of the machine's: those answer {:setns, 1}"

    [check("user namespace", initial?, found, hint)]
  end

  defp seccomp(%{seccomp: mode}) when mode in [nil, 0],
    do: [check("seccomp", true, "no filter", nil)]

  defp seccomp(%{open_home: open}) do
    hint =
      "it may be what refuses setns(2). docker and podman allow it with --cap-add SYS_ADMIN; systemd: " <>
        "SystemCallFilter=@system-service setns, and no RestrictNamespaces=; flatpak and snap: not at all"

    found = if open == :ok, do: "a filter that lets setns(2) through", else: "a filter is active"
    [check("seccomp", open == :ok, found, hint)]
  end

  defp security_module(%{security_module: nil}),
    do: [check("security module", true, "none confines this process", nil)]

  defp security_module(%{security_module: {module, label}}) do
    {found, way_out} =
      case module do
        :apparmor -> {"AppArmor, profile #{label}", "docker: --security-opt apparmor=unconfined"}
        :selinux -> {"SELinux, type #{label}", "docker: --security-opt label=disable"}
        :other -> {"label #{label}", "the module's own rules can allow it"}
      end

    hint =
      "it may forbid /proc/PID/ns/net of processes outside of its container, whatever the capabilities: those " <>
        "answer {:open, 13}; names work. #{way_out}"

    [check("security module", false, found, hint)]
  end

  # Inside `unshare -Ur` the VM's own namespace belongs to the user namespace outside.
  defp opens(%{open_home: {:error, text}, open_other: :ok}) do
    hint =
      text <> "; namespaces made here can be used, at the price of a new thread for each change"

    [check("open in the own namespace", false, "fails", hint), open("another", :ok)]
  end

  defp opens(facts), do: [open("the own", facts.open_home), open("another", facts.open_other)]

  defp open(which, outcome) do
    name = "open in #{which} namespace"

    case outcome do
      :ok -> check(name, true, "works", nil)
      {:error, text} -> check(name, false, "fails", text, :missing)
      {:skipped, why} -> check(name, false, "not tried", why)
    end
  end
end
