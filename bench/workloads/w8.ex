defmodule Bench.W8 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Namespaces, Requirement, Rounds}

  @namespaces 1_000
  @rounds %{full: 3, quick: 1}
  @idle %{full: 2_000, quick: 500}
  # Longer than it takes a helper to settle, so that the next path gets another one (ms).
  @pause 12

  @impl true
  def title, do: "1,000 pinned helpers: memory for each, and idle CPU of all"

  @impl true
  def run(size) do
    rows =
      Namespaces.with_new(@namespaces, fn paths ->
        Rounds.run_rounds(@rounds[size], [
          {{"nlns", nil}, fn -> in_new_vm(paths, @idle[size]) end}
        ])
      end)

    nlns = {"nlns", nil}

    requirements = [
      Requirement.absolute(rows, "resident memory for each, KiB", :rss, nlns, {:at_most, 16}),
      Requirement.absolute(
        rows,
        "idle CPU of all, % of a core",
        :idle_cpu,
        nlns,
        {:at_most, 0.01}
      )
    ]

    %{rows: rows, requirements: requirements, plot: nil}
  end

  # A VM of its own: in this one, memory that earlier workloads freed would be used again, unseen.
  defp in_new_vm(paths, idle) do
    {:ok, vm, _node} = :peer.start_link(%{connection: :standard_io, wait_boot: 30_000})

    call = fn module, function, arguments ->
      :peer.call(vm, module, function, arguments, :infinity)
    end

    try do
      :ok = call.(:code, :add_pathsa, [:code.get_path()])

      for {key, value} <- [max_helpers: 1_100, idle_timeout: :infinity] do
        :ok = call.(:application, :set_env, [:nlns, key, value])
      end

      {:ok, _} = call.(:application, :ensure_all_started, [:nlns])
      call.(__MODULE__, :measure, [paths, idle])
    after
      :peer.stop(vm)
    end
  end

  @doc false
  def measure([first | _] = paths, idle) do
    # What the first of everything costs is not the helpers'.
    open_close(first)
    collect()
    before = %{rss: resident(), stacks: kernel_stacks()}

    for path <- paths do
      open_close(path)
      Process.sleep(@pause)
    end

    collect()
    {rss, stacks} = {resident() - before.rss, kernel_stacks() - before.stacks}
    pinned = Enum.count(Nlns.info().helpers, &(&1.state == :pinned))
    pinned > 0.9 * length(paths) || raise "only #{pinned} helpers are pinned"

    cpu = helpers_cpu()
    Process.sleep(idle)
    idle_cpu = (helpers_cpu() - cpu) / (idle * 1_000_000) * 100
    %{values: %{rss: rss / pinned, kernel_stack: stacks / pinned, idle_cpu: idle_cpu}}
  end

  defp open_close(path) do
    {:ok, fd} = Nlns.open_in_netns(path, 0)
    :ok = Nlns.close_fd(fd)
  end

  defp collect do
    Enum.each(Process.list(), &:erlang.garbage_collect/1)
    Process.sleep(200)
  end

  # In KiB. VmRSS of /proc/self/status would be a guess: each thread counts for itself first.
  defp resident, do: kib("/proc/self/smaps_rollup", ~r/^Rss:\s+(\d+) kB/m)
  defp kernel_stacks, do: kib("/proc/meminfo", ~r/^KernelStack:\s+(\d+) kB/m)

  defp kib(file, regex) do
    [_, kib] = Regex.run(regex, File.read!(file))
    String.to_integer(kib)
  end

  # In ns; the first number of schedstat (Documentation/scheduler/sched-stats.rst).
  defp helpers_cpu do
    for task <- File.ls!("/proc/self/task"),
        directory = Path.join("/proc/self/task", task),
        {:ok, "nlns-" <> _} <- [File.read(Path.join(directory, "comm"))],
        {:ok, schedstat} <- [File.read(Path.join(directory, "schedstat"))],
        reduce: 0 do
      sum -> sum + (schedstat |> String.split() |> hd() |> String.to_integer())
    end
  end
end
