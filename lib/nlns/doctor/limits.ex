defmodule Nlns.Doctor.Limits do
  @moduledoc false
  # What the kernel gives this process and user: getrlimit(2), cgroups(7), inotify(7).

  import Nlns.Doctor, only: [check: 3, check: 4]

  # A helper that sleeps in a process's namespace holds one descriptor, its pidfd. The rest: what a
  # VM has open, and a few sockets to give away.
  @other_descriptors 256

  # The VM's own threads, roughly, and the pool's keeper, watcher and closers.
  @other_threads 64

  @spec checks(map()) :: [Nlns.Doctor.check()]
  def checks(facts), do: [descriptors(facts), processes(facts), pids(facts), inotify(facts)]

  defp descriptors(%{max_open_files: limit, max_helpers: helpers}) do
    hint =
      "#{helpers} helpers (max_helpers) may hold as many, and each socket is one more; without room " <>
        "opens answer {:socket, 24}. ulimit -n; systemd: LimitNOFILE=; or a lower max_helpers"

    status = if enough?(limit, helpers + @other_descriptors), do: :ok, else: :optional
    check("open files", status, "#{show(limit)} (RLIMIT_NOFILE)", hint)
  end

  # Whoever has one of the two in the machine's own user namespace is not counted, fork(2).
  defp processes(%{max_processes: limit, max_helpers: helpers} = facts) do
    exempt? =
      facts.initial_user_namespace? and
        (:sys_admin in facts.capabilities or :sys_resource in facts.capabilities)

    hint =
      "#{helpers} helpers (max_helpers) are as many threads, and all of this user's threads count; " <>
        "without room first opens answer {:thread, 11}. ulimit -u; systemd: LimitNPROC="

    cond do
      exempt? ->
        check("threads of the user", :ok, "not limited for this process")

      enough?(limit, helpers + @other_threads) ->
        check("threads of the user", :ok, "#{show(limit)} (RLIMIT_NPROC)")

      true ->
        check("threads of the user", :optional, "#{show(limit)} (RLIMIT_NPROC)", hint)
    end
  end

  defp pids(%{pids: nil}), do: check("threads of the cgroup", :ok, "not limited")

  defp pids(%{pids: {max, current}, max_helpers: helpers}) do
    hint =
      "#{helpers} helpers (max_helpers) are as many threads; without room first opens answer " <>
        "{:thread, 11}. docker: --pids-limit; systemd: TasksMax=; or a lower max_helpers"

    status = if max - current >= helpers, do: :ok, else: :optional
    check("threads of the cgroup", status, "#{current} of #{max} (pids.max)", hint)
  end

  defp inotify(%{inotify: {instances, watches}, watcher?: watcher?}) do
    hint =
      "none is left for nlns: a helper in a namespace whose name is deleted stays for up to a second. " <>
        "sysctl fs.inotify.max_user_instances, fs.inotify.max_user_watches"

    status = if watcher? != false and instances > 0 and watches > 0, do: :ok, else: :optional
    check("inotify", status, "#{instances} instances, #{watches} watches a user", hint)
  end

  defp enough?(:unlimited, _wanted), do: true
  defp enough?(nil, _wanted), do: true
  defp enough?(limit, wanted), do: limit >= wanted

  defp show(nil), do: "unknown"
  defp show(limit), do: to_string(limit)
end
