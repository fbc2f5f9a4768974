defmodule Nlns.Doctor.Privileges do
  @moduledoc false
  # What this process may do: capabilities(7), user_namespaces(7), seccomp(2).

  import Nlns.Doctor, only: [check: 3, check: 4]

  @try_it "to try nlns as a plain user: `unshare -Urnm sh -c 'mount -t tmpfs none /run && mkdir /run/netns && exec sh'`"

  @spec checks(map()) :: [Nlns.Doctor.check()]
  def checks(facts) do
    [
      sys_admin(facts),
      sys_ptrace(facts),
      net_raw(facts),
      user_namespace(facts),
      user_namespaces(facts),
      seccomp(facts)
    ]
  end

  defp sys_admin(facts) do
    hint =
      "it enters namespaces. Run as root; systemd: AmbientCapabilities=CAP_SYS_ADMIN CAP_SYS_PTRACE; " <>
        "docker: --cap-add SYS_ADMIN; " <> @try_it

    capability("CAP_SYS_ADMIN", :sys_admin, facts, :missing, hint)
  end

  defp sys_ptrace(facts) do
    hint = "/proc/PID/ns/net of other users' processes answers {:open, 13}; names work without it"
    capability("CAP_SYS_PTRACE", :sys_ptrace, facts, :optional, hint)
  end

  defp net_raw(facts) do
    hint =
      "`:raw` and `:packet` sockets answer {:socket, 1}; netlink, TCP and UDP work without it"

    capability("CAP_NET_RAW", :net_raw, facts, :optional, hint)
  end

  defp capability(name, capability, facts, otherwise, hint) do
    if capability in facts.capabilities,
      do: check(name, :ok, "effective"),
      else: check(name, otherwise, "not effective", hint)
  end

  defp user_namespace(%{initial_user_namespace?: true}),
    do: check("user namespace", :ok, "the machine's own")

  defp user_namespace(_facts) do
    hint =
      "it can enter the namespaces made inside it, and none of the machine's: those answer {:setns, 1}"

    check("user namespace", :optional, "one of its own", hint)
  end

  # Only who has no CAP_SYS_ADMIN needs one to try nlns.
  defp user_namespaces(facts) do
    case {facts.user_namespaces, :sys_admin in facts.capabilities} do
      {:allowed, _} ->
        check("making user namespaces", :ok, "allowed")

      {{:forbidden, by}, true} ->
        check("making user namespaces", :ok, "forbidden by #{by}; not needed")

      {{:forbidden, by}, false} ->
        check("making user namespaces", :optional, "forbidden by #{by}", forbidden(by))
    end
  end

  defp forbidden(by),
    do: "`unshare -Urnm`, the way to try nlns as a plain user, fails; root can change #{by}"

  defp seccomp(%{seccomp: mode}) when mode in [nil, 0], do: check("seccomp", :ok, "no filter")

  defp seccomp(%{open_home: :ok}),
    do: check("seccomp", :ok, "a filter that lets setns(2) through")

  defp seccomp(_facts) do
    hint =
      "it may be what refuses setns(2). docker and podman allow it with --cap-add SYS_ADMIN; systemd: " <>
        "SystemCallFilter=@system-service setns, and no RestrictNamespaces=; flatpak and snap: not at all"

    check("seccomp", :optional, "a filter is active", hint)
  end
end
