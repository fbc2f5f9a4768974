defmodule Nlns.Doctor.Limits do
  @moduledoc false
  # Checks the limits of this process and user: getrlimit(2), cgroups(7), inotify(7).

  import Nlns.Doctor.Check

  # A helper that sleeps in a process's namespace holds one descriptor, its pidfd. The rest is for the VM's own
  # descriptors and for a few sockets.
  @other_descriptors 256

  # The VM's own threads, roughly, and the pool's manager, watcher and closers.
  @other_threads 64

  @spec checks(map()) :: [Nlns.Doctor.Check.t()]
  def checks(%{max_helpers: helpers} = facts) do
    # fork(2): such a process in the machine's own user namespace is not counted.
    exempt? =
      facts.initial_user_namespace? and
        Enum.any?([:sys_admin, :sys_resource], &(&1 in facts.capabilities))

    threads = if exempt?, do: :unlimited, else: facts.max_processes

    {pids, left} =
      with {max, now} <- facts.pids,
           do: {"#{now} of #{max}", max - now},
           else: (nil -> {:unlimited, :unlimited})

    inotify? = facts.watcher? and Enum.all?(facts.inotify, &(&1 not in ["", "0"]))
    as_many = "#{helpers} helpers (max_helpers) may be as many"

    [
      check(
        "open files",
        facts.max_open_files >= helpers + @other_descriptors,
        "#{facts.max_open_files} (RLIMIT_NOFILE)",
        "#{as_many} descriptors, and each socket is one more; without room opens answer {:socket, 24}. " <>
          "ulimit -n; systemd: LimitNOFILE=; or a lower max_helpers"
      ),
      check(
        "threads of the user",
        threads >= helpers + @other_threads,
        "#{threads} (RLIMIT_NPROC)",
        "#{as_many} threads, and all of this user's count; without room the helpers that run serve every path by " <>
          "turns. ulimit -u; systemd: LimitNPROC="
      ),
      check(
        "threads of the cgroup",
        left >= helpers,
        "#{pids} (pids.max)",
        "#{as_many} threads; without room the helpers that run serve every path by turns. docker: --pids-limit; " <>
          "systemd: TasksMax=; or a lower max_helpers"
      ),
      check(
        "inotify",
        inotify?,
        Enum.join(facts.inotify, " instances, ") <> " watches a user",
        "none is left for nlns: a helper in a namespace whose name is deleted stays for up to a second. " <>
          "sysctl fs.inotify.max_user_instances, fs.inotify.max_user_watches"
      )
    ]
  end
end
