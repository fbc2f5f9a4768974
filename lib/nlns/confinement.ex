defmodule Nlns.Confinement do
  @moduledoc false
  # Reads in /proc what this process may do and see: capabilities(7), seccomp(2), user_namespaces(7), and the
  # security module that confines it. It judges nothing.

  @typedoc """
  `capabilities` are effective; `bounding` may become so, by a file's or ambient ones. `seccomp` is the mode
  (2: a filter). `security_module` is `nil` where none confines this process.
  """
  @type t :: %{
          capabilities: [atom()],
          bounding: [atom()],
          seccomp: non_neg_integer() | nil,
          security_module: {:apparmor | :selinux | :other, String.t()} | nil,
          initial_user_namespace?: boolean()
        }

  # linux/capability.h
  @capabilities [net_admin: 12, net_raw: 13, sys_ptrace: 19, sys_admin: 21, sys_resource: 24]

  # Types of SELinux that are confined by nothing.
  @unconfined ["unconfined_t", "spc_t", "kernel_t", "init_t"]

  @spec read() :: t()
  def read do
    status = text("/proc/self/status")

    %{
      capabilities: capabilities(status, "CapEff"),
      bounding: capabilities(status, "CapBnd"),
      seccomp: seccomp(status),
      security_module: security_module(label()),
      initial_user_namespace?: initial_user_namespace?(text("/proc/self/uid_map"))
    }
  end

  @doc "Returns the capabilities of a set in `/proc/self/status` that matter here."
  @spec capabilities(String.t(), String.t()) :: [atom()]
  def capabilities(status, set) do
    mask =
      case Regex.run(~r/^#{set}:\s*([0-9a-f]+)$/m, status) do
        [_, hex] -> String.to_integer(hex, 16)
        nil -> 0
      end

    for {name, bit} <- @capabilities, Bitwise.band(mask, Bitwise.bsl(1, bit)) != 0, do: name
  end

  @doc "Returns the mode of seccomp(2), from `/proc/self/status`; `nil` in a kernel without it."
  @spec seccomp(String.t()) :: non_neg_integer() | nil
  def seccomp(status) do
    with [_, mode] <- Regex.run(~r/^Seccomp:\s*(\d+)$/m, status), do: String.to_integer(mode)
  end

  # Several modules can be active, so each has a file of its own since Linux 5.1.
  defp label do
    with "" <- text("/proc/self/attr/apparmor/current"), do: text("/proc/self/attr/current")
  end

  @doc """
  Returns the module and its name for what confines this process, from its label.

      iex> Nlns.Confinement.security_module("docker-default (enforce)\\n")
      {:apparmor, "docker-default"}

      iex> Nlns.Confinement.security_module("system_u:system_r:container_t:s0:c1,c2\\0")
      {:selinux, "container_t"}

      iex> Nlns.Confinement.security_module("unconfined\\n")
      nil
  """
  @spec security_module(String.t()) :: {:apparmor | :selinux | :other, String.t()} | nil
  def security_module(label) do
    label = label |> String.trim_trailing("\0") |> String.trim()

    case {Regex.run(~r/^(.+) \((\w+)\)$/, label), String.split(label, ":")} do
      {[_, _profile, mode], _} when mode in ["complain", "unconfined"] -> nil
      {[_, profile, _mode], _} -> {:apparmor, profile}
      {nil, [_user, _role, type | _]} when type in @unconfined -> nil
      {nil, [_user, _role, type | _]} -> {:selinux, type}
      {nil, [label]} when label in ["", "unconfined", "kernel", "_"] -> nil
      {nil, _} -> {:other, label}
    end
  end

  @doc """
  Returns the option of the mount on `/proc`; `nil` if it hides nothing. Note: the kernel takes tens of
  milliseconds to list thousands of mounts.
  """
  @spec hidepid() :: String.t() | nil
  def hidepid, do: hidepid(text("/proc/self/mountinfo"))

  @doc "Returns hidepid, from `/proc/self/mountinfo`."
  @spec hidepid(String.t()) :: String.t() | nil
  def hidepid(mountinfo) do
    # What is mounted last is on top.
    proc =
      for line <- :binary.split(mountinfo, "\n", [:global]),
          :binary.match(line, " /proc ") != :nomatch and line =~ " - proc ",
          do: line

    with line when line != nil <- List.last(proc),
         [_, mode] <- Regex.run(~r/[ ,]hidepid=(\w+)/, line) do
      if mode not in ["0", "off"], do: mode
    end
  end

  @doc "Tells whether a user map is the one that only the machine's own user namespace has."
  @spec initial_user_namespace?(String.t()) :: boolean()
  def initial_user_namespace?(map), do: String.split(map) in [[], ["0", "0", "4294967295"]]

  defp text(path) do
    case File.read(path) do
      {:ok, text} -> text
      {:error, _} -> ""
    end
  end
end
