defmodule Nlns.Error.Cause do
  @moduledoc false
  # Finds the cause of an errno by the facts of `Nlns.Error.Look`.

  alias Nlns.Error.Look

  # A name is made or deleted within milliseconds. After this time the file will not become a namespace.
  @moment_s 2

  # As File.Stat has them.
  @kinds %{
    regular: "a file",
    directory: "a directory",
    device: "a device",
    symlink: "a symbolic link",
    other: "a FIFO or a socket"
  }

  @doc "Returns the cause as a part of a sentence, or `nil` where the look tells none."
  @spec of({atom(), integer()}, Look.t()) :: String.t() | nil
  def of({:open, 2}, look), do: missing(look)
  def of({:open, 13}, look), do: refused(look)

  def of({:open, 95}, %{own_proc?: false}),
    do: "what is at /proc is of another pid namespace, or nothing"

  def of({:setns, 22}, look), do: no_namespace(look.path, look.file)
  def of({:setns, 1}, look), do: not_permitted(:sys_admin, "the namespace", look.confinement)
  def of({:socket, 1}, look), do: not_permitted(:net_raw, "the namespace", look.confinement)
  def of({:socket, 13}, look), do: confined(look.confinement, "this family")
  def of({:socket, 97}, look), do: filtered(look.confinement)
  def of({:thread, 2}, look), do: no_proc(look)
  def of({:thread, 11}, look), do: busy(look.pool)
  def of({:thread, 110}, look), do: late(look)
  def of(_reason, _look), do: nil

  defp missing(%{pid: pid, running?: false}) when pid != nil, do: "no process #{pid} is running"

  defp missing(%{pid: pid, running?: true, own_proc?: false}),
    do: "process #{pid} is running, but its main thread has ended"

  defp missing(%{pid: pid, running?: true, listed?: false, hidepid: mode}) when mode != nil do
    "process #{pid} is running, but /proc is mounted with hidepid=#{mode} and does not show it to this user; " <>
      "CAP_SYS_PTRACE or the mount's gid= does"
  end

  defp missing(%{pid: pid, running?: true, listed?: true, file: nil}) do
    "process #{pid} is running, but its main thread has ended; its other threads have the path " <>
      "/proc/#{pid}/task/TID/ns/net"
  end

  defp missing(%{stops_at: nil, file: file}) when file != nil, do: "by now something is there"

  defp missing(%{stops_at: {part, _}, link: link}) when link != nil,
    do: "#{quoted(part)} is a symbolic link to #{quoted(link)}, where nothing is"

  defp missing(%{stops_at: {path, _}, path: path}),
    do: "#{quoted(Path.dirname(path))} is there, and has no #{quoted(Path.basename(path))}"

  defp missing(%{stops_at: {"/run/netns", _}}) do
    "there is no /run/netns. `ip netns add` makes it; in a container the host's has to be mounted " <>
      "(docker: -v /run/netns:/run/netns:rslave)"
  end

  defp missing(%{stops_at: {part, _}}), do: "there is no #{quoted(part)}"
  defp missing(_look), do: nil

  defp refused(%{pid: pid, stops_at: {part, _}} = look)
       when pid != nil and binary_part(part, 0, 6) == "/proc/" do
    case look.confinement do
      %{capabilities: capabilities, security_module: module} ->
        cond do
          :sys_ptrace not in capabilities and look.owner == look.user ->
            "process #{pid} is of this user too, but has capabilities that this one has not; it needs CAP_SYS_PTRACE"

          :sys_ptrace not in capabilities ->
            "process #{pid} is of user #{look.owner || "unknown"}, this one of #{look.user}; it needs CAP_SYS_PTRACE"

          module != nil ->
            "CAP_SYS_PTRACE is effective, so it is #{confiner(module)} that forbids it"

          true ->
            "CAP_SYS_PTRACE is effective here, but not in the user namespace of process #{pid}"
        end
    end
  end

  defp refused(%{stops_at: {part, :eacces}, user: user}),
    do: "user #{user} may not search #{quoted(Path.dirname(part))}"

  defp refused(%{confinement: %{security_module: module}}) when module != nil,
    do: "#{confiner(module)} may forbid it"

  defp refused(_look), do: nil

  defp no_namespace(_path, %{kind: "net"}), do: "by now it is one"

  defp no_namespace(_path, %{kind: kind}) when kind != nil,
    do: "it is a namespace, but of the kind #{kind}"

  defp no_namespace(_path, %{nsfs?: true}),
    do: "it is a namespace, but of another kind, or by now it is one"

  defp no_namespace(path, %{type: :regular, size: 0, age: age}) when age <= @moment_s,
    do: "#{quoted(path)} was made just now and has no namespace mounted on it yet; ask again"

  defp no_namespace(path, %{type: :regular, size: 0, age: age}) do
    "#{quoted(path)} is an empty file, #{age} s old, with no namespace mounted on it in this mount namespace; " <>
      "if it has one elsewhere, that mount does not propagate to here (docker: " <>
      "-v /run/netns:/run/netns:rslave; rootless podman: podman unshare)"
  end

  defp no_namespace(path, %{type: type}), do: "#{quoted(path)} is #{@kinds[type]}, no namespace"
  defp no_namespace(_path, nil), do: "by now nothing is there"

  defp not_permitted(capability, where, confinement) do
    name = "CAP_#{capability |> to_string() |> String.upcase()}"

    cond do
      capability in confinement.capabilities and confinement.seccomp == 2 ->
        "#{name} is effective, so it is the seccomp filter of this process that refuses, or #{where} belongs to " <>
          "a user namespace in which this process has no capabilities"

      capability in confinement.capabilities ->
        "#{name} is effective here, but not in the user namespace that owns #{where}"

      capability in confinement.bounding ->
        "#{name} is not effective. It is in the bounding set alone, as with docker's --user and --cap-add: " <>
          "run as root, or give it to the VM's file (setcap) or as an ambient one"

      true ->
        "#{name} is not effective, and not in the bounding set"
    end
  end

  defp confined(%{security_module: nil}, _what), do: nil
  defp confined(%{security_module: module}, what), do: "#{confiner(module)} may forbid #{what}"

  defp filtered(%{seccomp: 2}) do
    "a seccomp filter is active, which may be what refuses the family (systemd: RestrictAddressFamilies=); else " <>
      "the kernel lacks it"
  end

  defp filtered(_confinement),
    do: "no seccomp filter is active: the kernel lacks it, or a module of it is missing"

  defp no_proc(%{own_proc?: true}),
    do: "by now /proc is there, or the kernel has no network namespaces"

  defp no_proc(_look),
    do:
      "nothing is mounted at /proc, or what is there is of another pid namespace: mount -t proc proc /proc"

  defp busy(%{stuck: stuck, max_helpers: max}) when stuck >= max,
    do: "all #{max} helpers (max_helpers) are stuck in the kernel; Nlns.info/0 tells where"

  defp busy(%{helpers: helpers, max_helpers: max, waiting: waiting, max_queue: queue})
       when length(helpers) < max and waiting < queue do
    "now #{length(helpers)} of #{max} helpers run and #{waiting} requests wait: that was a moment, or the system " <>
      "allows no more threads"
  end

  defp busy(_pool), do: nil

  defp late(%{path: path, pid: pid, pool: %{helpers: helpers}}) do
    if Enum.any?(helpers, &(&1.state == :stuck and &1.path in [path, {:pid, pid}])),
      do: "a helper is stuck at this path: what is mounted there does not answer"
  end

  defp late(_look), do: nil

  @doc "Returns the security module in words."
  @spec confiner({atom(), String.t()}) :: String.t()
  def confiner({:apparmor, profile}),
    do: "AppArmor's profile #{profile} (docker: --security-opt apparmor=unconfined)"

  def confiner({:selinux, type}),
    do: "SELinux, by the type #{type} (docker: --security-opt label=disable)"

  def confiner({:other, label}), do: "the security module, by the label #{label}"

  # Others may have chosen the name.
  defp quoted(path), do: inspect(path, binaries: :as_strings)
end
