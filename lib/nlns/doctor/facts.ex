defmodule Nlns.Doctor.Facts do
  @moduledoc false
  # What there is on this machine, as `Nlns.Doctor.checks/1` takes it. Nothing here judges.

  alias Nlns.{Confinement, Library}
  alias Nlns.Doctor.{Cgroup, Trial}

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
    library = with :ok <- Library.load(), do: {:ok, Library.path()}
    application = application(match?({:ok, _}, library))
    limits = text("/proc/self/limits")

    Trial.run(application)
    |> Map.merge(Confinement.read())
    |> Map.merge(%{
      os: :os.type(),
      kernel: :os.version(),
      library: library,
      application: application,
      max_helpers: max_helpers(),
      proc_mounted?: File.exists?("/proc/self/status"),
      names: names(),
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
