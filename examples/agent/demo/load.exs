# The measurement of examples/agent/load, which makes what this needs.

defmodule Load do
  @every 5_000
  @rounds 6

  # getconf CLK_TCK, on every architecture that Linux has had for long.
  @ticks 100

  def run([name, count, dir, churn]) do
    count = String.to_integer(count)
    yard = name <> "-yard"

    looking = looking_only(name)
    start(name, @every)
    IO.puts("waiting until all have been read")
    await("all read", fn -> NetnsAgent.summary().ok >= count end)
    measured = measure(@every * @rounds)
    {fetch, bytes} = :timer.tc(fn -> IO.iodata_length(NetnsAgent.Metrics.render()) end)
    ip = ip_costs("#{name}-1")

    churned = dir |> Path.join("churned") |> File.read!() |> String.trim() |> String.to_integer()
    System.cmd("kill", [churn])
    {_, 0} = System.cmd("ip", ["-batch", Path.join(dir, "delete")])

    for left <- File.ls!("/run/netns"), String.starts_with?(left, name <> "-churn") do
      System.cmd("ip", ["netns", "del", left])
    end

    await("the kernel's end of them all", fn -> lines(yard) == 0 end)

    report(count, looking, measured, fetch, bytes, ip, churned)
  end

  defp start(name, every) do
    settings = [port: 0, only: "^#{name}-", scrape_every: every]
    Application.put_all_env(netns_agent: settings)
    {:ok, _} = Application.ensure_all_started(:netns_agent)
  end

  # The agent's other half: finding namespaces, every second, without reading any.
  defp looking_only(name) do
    IO.puts("measuring what looking for namespaces costs")
    start(name, 3_600_000)
    Process.sleep(3_000)
    %{cpu: cpu} = measure(10_000)
    Application.stop(:netns_agent)
    cpu
  end

  defp measure(ms) do
    IO.puts("measuring for #{div(ms, 1_000)} s")
    {cpu, scrapes, started} = {cpu(), NetnsAgent.Store.get(:scrapes, 0), now()}
    took = for _ <- 1..div(ms, 500), do: Process.sleep(500) && round_took()
    ms = now() - started
    used = cpu() - cpu

    %{
      cpu: used / ms,
      scrapes: NetnsAgent.Store.get(:scrapes, 0) - scrapes,
      used: used,
      rounds: Enum.uniq(took),
      late: NetnsAgent.Store.labelled(:rounds_late),
      failures: NetnsAgent.Store.labelled(:failures),
      each: for({_, sample} <- NetnsAgent.namespaces(), sample, do: sample.took)
    }
  end

  defp round_took do
    took = NetnsAgent.Store.get({:round_took, :healthy}, 0)
    System.convert_time_unit(took, :native, :microsecond) / 1_000
  end

  # ms of CPU of this VM, all threads, user and kernel: proc(5).
  defp cpu do
    [_, fields] = "/proc/self/stat" |> File.read!() |> String.split(") ")
    fields = String.split(fields)
    ticks = for n <- [11, 12], do: fields |> Enum.at(n) |> String.to_integer()
    Enum.sum(ticks) * 1_000 / @ticks
  end

  # The same reading by iproute2's program: ms of CPU for one.
  defp ip_costs(name) do
    script = ~S{for n in $(seq 100); do ip -n "$1" -s -j link >/dev/null; done; times}
    {output, 0} = System.cmd("bash", ["-c", script, "bash", name])
    # The second line is that of the children: user, then kernel.
    [_own, children] = String.split(output, "\n", trim: true)
    times = Regex.scan(~r/(\d+)m([\d.]+)s/, children)
    seconds = for [_, m, s] <- times, do: String.to_integer(m) * 60 + String.to_float(s)
    Enum.sum(seconds) * 1_000 / 100
  end

  defp lines(yard) do
    {output, 0} = System.cmd("ip", ["-n", yard, "-o", "link", "show", "type", "veth"])
    output |> String.split("\n", trim: true) |> length()
  end

  defp await(what, fun, until \\ now() + 60_000) do
    cond do
      fun.() ->
        :ok

      now() > until ->
        IO.puts("NOT within a minute: #{what}")
        System.halt(1)

      true ->
        Process.sleep(200)
        await(what, fun, until)
    end
  end

  defp report(count, looking, m, fetch, bytes, ip, churned) do
    scrape = m.used / m.scrapes
    each = Enum.sort(m.each)
    percent = &"#{Float.round(&1 * 100, 1)} %"
    ms = &"#{Float.round(&1 * 1.0, 2)} ms"

    IO.puts("""

    #{count} namespaces, read every #{div(@every, 1_000)} s, while #{churned} more came and went
      CPU of the agent             #{percent.(m.cpu / 2)} of two cores
        of that, for looking       #{percent.(looking / m.cpu)}
      CPU per scrape               #{ms.(scrape)}, #{percent.(scrape / ip)} of what `ip -n NAME -s -j link` needs
      a round takes                #{percent.(Enum.max(m.rounds) / @every)} of its 5 s at most
      a scrape takes               #{ms.(Enum.at(each, div(length(each), 2)) / 1_000)} in the middle, #{ms.(Enum.at(each, div(length(each) * 99, 100)) / 1_000)} for 99 of 100
      /metrics                     #{div(bytes, 1_000)} kB, made in #{percent.(fetch / 1_000 / @every)} of 5 s
      scrapes that failed          #{inspect(m.failures)} of #{m.scrapes}; rounds that were late: #{inspect(m.late)}
      namespaces still held        0, with the agent running, after all were deleted
    """)
  end

  defp now, do: System.monotonic_time(:millisecond)
end

Load.run(System.argv())
