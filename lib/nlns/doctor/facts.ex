defmodule Nlns.Doctor.Facts do
  @moduledoc false
  # Collects the facts of this machine for `Nlns.Doctor.Checks.all/1`, and judges none.

  alias Nlns.{Confinement, Library, Native}
  alias Nlns.Doctor.SelfTest

  # Settings that forbid a plain user to make user namespaces, with the value that does.
  @forbidding [
    {"user.max_user_namespaces", "0"},
    # Debian's and Ubuntu's own.
    {"kernel.unprivileged_userns_clone", "0"},
    {"kernel.apparmor_restrict_unprivileged_userns", "1"}
  ]

  @spec read() :: map()
  def read do
    # Note: in this order. The application needs the library; the opens and the features need the application.
    library = with :ok <- Library.load(), do: {:ok, Library.path()}

    application =
      with {:ok, _} <- library, do: start(), else: (_ -> {:error, "it needs the native library"})

    limits = text("/proc/self/limits")

    SelfTest.run(application)
    |> Map.merge(Confinement.read())
    |> Map.merge(%{
      os: :os.type(),
      kernel: :os.version(),
      library: library,
      application: application,
      features: if(application == :ok, do: Native.features(), else: []),
      max_helpers: max_helpers(),
      proc_mounted?: File.exists?("/proc/self/status"),
      hidepid: Confinement.hidepid(),
      names: with({:ok, names} <- File.ls("/run/netns"), do: {:ok, length(names)}),
      userns_forbidden_by: userns_forbidden_by(&sysctl/1),
      max_open_files: limit(limits, "Max open files"),
      max_processes: limit(limits, "Max processes"),
      pids: pids(text("/proc/self/cgroup"), &text/1),
      inotify: Enum.map(~w(max_user_instances max_user_watches), &sysctl("fs.inotify." <> &1)),
      # The pool starts its watcher if the kernel gives it what it needs.
      watcher?:
        Enum.any?(Path.wildcard("/proc/self/task/*/comm"), &(text(&1) == "nlns-watcher\n"))
    })
  end

  defp start do
    case Application.ensure_all_started(:nlns) do
      {:ok, _started} -> :ok
      {:error, {app, reason}} -> {:error, "#{inspect(app)}: #{reason(reason)}"}
    end
  end

  @doc "Explains why an application did not start."
  @spec reason(term()) :: String.t()
  def reason({:bad_return, {_start, {:EXIT, {%{__exception__: true} = error, _stack}}}}),
    do: Exception.message(error)

  def reason({:bad_return, {_start, {:error, {:thread, errno}}}}),
    do: Nlns.format_error({:thread, errno}, "/proc/self/ns/net")

  def reason(reason), do: inspect(reason)

  defp max_helpers do
    Nlns.Config.read!().max_helpers
  rescue
    # The start of the application has reported it already.
    ArgumentError -> Nlns.Config.new!([]).max_helpers
  end

  @doc "Returns the setting that forbids a plain user to make user namespaces; `sysctl` reads one, \"\" if there is none."
  @spec userns_forbidden_by((String.t() -> String.t())) :: String.t() | nil
  def userns_forbidden_by(sysctl) do
    Enum.find_value(@forbidding, fn {name, value} ->
      sysctl.(name) == value && "#{name}=#{value}"
    end)
  end

  @doc "Returns a soft limit, from `/proc/self/limits`."
  @spec limit(String.t(), String.t()) :: non_neg_integer() | :unlimited
  def limit(limits, name) do
    case Regex.run(~r/^#{name}\s+(\d+)/m, limits) do
      [_, number] -> String.to_integer(number)
      nil -> :unlimited
    end
  end

  @doc """
  Returns the nearest limit on threads of the control groups in `/proc/self/cgroup`'s text and those above them, and
  how many there are (cgroups(7), version 2 and 1); `nil` without one. `read` is a file's text, \"\" without one.
  """
  @spec pids(String.t(), (Path.t() -> String.t())) :: {non_neg_integer(), non_neg_integer()} | nil
  def pids(cgroup, read) do
    limits =
      for [controllers, group] <-
            Regex.scan(~r/^\d+:(|.*\bpids\b.*):(.*)$/m, cgroup, capture: :all_but_first),
          root = if(controllers == "", do: "/sys/fs/cgroup", else: "/sys/fs/cgroup/pids"),
          directory <- group |> Path.split() |> Enum.scan(root, &Path.join(&2, &1)),
          {max, _} <- [Integer.parse(read.(directory <> "/pids.max"))],
          {current, _} <- [Integer.parse(read.(directory <> "/pids.current"))],
          do: {max, current}

    Enum.min_by(limits, fn {max, current} -> max - current end, fn -> nil end)
  end

  defp sysctl(name), do: String.trim(text("/proc/sys/" <> String.replace(name, ".", "/")))

  defp text(path) do
    case File.read(path) do
      {:ok, text} -> text
      {:error, _} -> ""
    end
  end
end
