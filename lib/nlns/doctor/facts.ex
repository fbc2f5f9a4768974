defmodule Nlns.Doctor.Facts do
  @moduledoc false
  # What there is on this machine, as `Nlns.Doctor.checks/1` takes it. Nothing here judges.

  alias Nlns.Doctor.{Cgroup, Trial}

  # linux/capability.h
  @capabilities [net_raw: 13, sys_ptrace: 19, sys_admin: 21, sys_resource: 24]

  # What forbids a plain user to make user namespaces, and the value that does.
  @forbidding [
    {"user.max_user_namespaces", "0"},
    # Debian's and Ubuntu's own.
    {"kernel.unprivileged_userns_clone", "0"},
    {"kernel.apparmor_restrict_unprivileged_userns", "1"}
  ]

  @spec read() :: map()
  def read do
    # NB: in this order; the application needs the library, the opens need the application.
    library = library()
    application = application(library.loaded?)
    status = text("/proc/self/status")
    limits = text("/proc/self/limits")

    Map.merge(Trial.run(application), %{
      os: :os.type(),
      kernel: :os.version(),
      library: library,
      application: application,
      max_helpers: max_helpers(),
      proc: %{mounted?: status != "", hidepid: hidepid(text("/proc/self/mountinfo"))},
      names: names(),
      capabilities: capabilities(status),
      seccomp: seccomp(status),
      initial_user_namespace?: initial_user_namespace?(text("/proc/self/uid_map")),
      user_namespaces: user_namespaces(&sysctl/1),
      max_open_files: limit(limits, "Max open files"),
      max_processes: limit(limits, "Max processes"),
      pids: Cgroup.pids(text("/proc/self/cgroup"), &File.read/1),
      inotify:
        {number(sysctl("fs.inotify.max_user_instances")),
         number(sysctl("fs.inotify.max_user_watches"))},
      watcher?: watcher?(application)
    })
  end

  defp library do
    path = Application.app_dir(:nlns, "priv/native/libnlns.so")
    head = with {:ok, file} <- File.open(path, [:read, :raw]), do: read_head(file)
    architecture = to_string(:erlang.system_info(:system_architecture))

    %{
      path: path,
      head: head,
      architecture: architecture,
      loaded?: Code.ensure_loaded?(Nlns.Native)
    }
  end

  defp read_head(file) do
    head = :file.read(file, 20)
    _ = File.close(file)
    with :eof <- head, do: {:ok, ""}
  end

  defp application(false), do: {:error, "it needs the native library"}

  defp application(true) do
    with {:error, {app, reason}} <- Application.ensure_all_started(:nlns) do
      {:error, "#{inspect(app)}: #{reason(reason)}"}
    else
      {:ok, _started} -> :ok
    end
  end

  @doc "What an application's start failed with, for a person."
  @spec reason(term()) :: String.t()
  def reason({:bad_return, {_start, {:EXIT, {%{__exception__: true} = error, _stack}}}}),
    do: Exception.message(error)

  def reason({:bad_return, {_start, {:error, {:thread, errno}}}}),
    do: Nlns.format_error({:thread, errno})

  def reason(reason), do: inspect(reason)

  defp max_helpers do
    Nlns.Config.read!().max_helpers
  rescue
    # The application's start has said so already.
    ArgumentError -> Nlns.Config.new!([]).max_helpers
  end

  defp names do
    with {:ok, names} <- File.ls("/run/netns"), do: {:ok, length(names)}
  end

  @doc "The effective ones among those that matter, from `/proc/self/status`."
  @spec capabilities(String.t()) :: [atom()]
  def capabilities(status) do
    mask =
      case Regex.run(~r/^CapEff:\s*([0-9a-f]+)$/m, status) do
        [_, hex] -> String.to_integer(hex, 16)
        nil -> 0
      end

    for {name, bit} <- @capabilities, Bitwise.band(mask, Bitwise.bsl(1, bit)) != 0, do: name
  end

  @doc "The mode, from `/proc/self/status`; `nil` in a kernel without."
  @spec seccomp(String.t()) :: non_neg_integer() | nil
  def seccomp(status) do
    case Regex.run(~r/^Seccomp:\s*(\d+)$/m, status) do
      [_, mode] -> String.to_integer(mode)
      nil -> nil
    end
  end

  @doc "The option of the mount on `/proc`, from `/proc/self/mountinfo`; `nil` if it has none."
  @spec hidepid(String.t()) :: String.t() | nil
  def hidepid(mountinfo) do
    # What is mounted last is on top.
    case Regex.scan(~r{^.* /proc .*? - proc .*$}m, mountinfo) |> List.last() do
      [line] -> with [_, mode] <- Regex.run(~r/[ ,]hidepid=(\w+)/, line), do: mode
      nil -> nil
    end
  end

  @doc "Whether a user map is the one that only the machine's own user namespace has."
  @spec initial_user_namespace?(String.t()) :: boolean()
  def initial_user_namespace?(map), do: String.split(map) in [[], ["0", "0", "4294967295"]]

  @doc "Whether a plain user may make user namespaces; `sysctl` reads a setting, \"\" if there is none."
  @spec user_namespaces((String.t() -> String.t())) :: :allowed | {:forbidden, String.t()}
  def user_namespaces(sysctl) do
    Enum.find_value(@forbidding, :allowed, fn {name, value} ->
      sysctl.(name) == value && {:forbidden, "#{name}=#{value}"}
    end)
  end

  @doc "A soft limit, from `/proc/self/limits`."
  @spec limit(String.t(), String.t()) :: non_neg_integer() | :unlimited | nil
  def limit(limits, name) do
    case Regex.run(~r/^#{name}\s+(\w+)/m, limits) do
      [_, "unlimited"] -> :unlimited
      [_, number] -> String.to_integer(number)
      nil -> nil
    end
  end

  # The pool starts its watcher if the kernel gives it what it needs; `nil` if there is no pool.
  defp watcher?({:error, _}), do: nil

  defp watcher?(:ok) do
    Enum.any?(Path.wildcard("/proc/self/task/*/comm"), &(text(&1) == "nlns-watcher\n"))
  end

  defp sysctl(name) do
    String.trim(text("/proc/sys/" <> String.replace(name, ".", "/")))
  end

  defp number(""), do: 0
  defp number(digits), do: String.to_integer(digits)

  defp text(path) do
    case File.read(path) do
      {:ok, text} -> text
      {:error, _} -> ""
    end
  end
end
