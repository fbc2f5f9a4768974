# The measurement of examples/agent/load, which makes what this needs.

Code.require_file("socket.exs", __DIR__)

defmodule Load do
  alias NetnsAgent.{Config, Netlink, Scraper, Store}

  @every 5_000

  # getconf CLK_TCK, on every architecture that Linux has had for long.
  @ticks 100

  def run([name, count, seconds, dir, churn]) do
    [count, seconds] = Enum.map([count, seconds], &String.to_integer/1)
    yard = name <> "-yard"

    looking = looking_only(name)
    start(name, @every)
    IO.puts("waiting until all have been read")
    await("all read", fn -> NetnsAgent.summary().ok >= count end)
    measured = measure(seconds)
    attacked = attack(fn -> measure(max(div(seconds, 3), 10)) end)

    System.cmd("kill", [churn])
    churned = dir |> Path.join("churned") |> File.read!() |> String.trim() |> String.to_integer()
    ways = compare(name)
    ip = ip_costs("#{name}-1")
    # Nothing is held by an agent that is at work.
    start(name, @every)
    await("all read", fn -> NetnsAgent.summary().ok >= count end)
    {_, 0} = System.cmd("ip", ["-batch", Path.join(dir, "delete")])

    for left <- File.ls!("/run/netns"), String.starts_with?(left, name <> "-churn") do
      System.cmd("ip", ["netns", "del", left])
    end

    await("the kernel's end of them all", fn -> lines(yard) == 0 end)
    report({count, seconds}, looking, measured, attacked, ways, ip, churned)
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
    before = cpu()
    Process.sleep(10_000)
    cpu = (cpu() - before) / 10_000
    Application.stop(:netns_agent)
    cpu
  end

  defp measure(seconds) do
    IO.puts("measuring for #{seconds} s")
    {cpu, scrapes, started} = {cpu(), Store.get(:scrapes), now()}
    looks = look_until(started + seconds * 1_000, [])
    ms = now() - started

    %{
      cpu: (cpu() - cpu) / ms,
      scrapes: Store.get(:scrapes) - scrapes,
      rounds: for(look <- looks, do: look.round),
      metrics: for(look <- looks, do: look.metrics),
      bytes: List.last(looks).bytes,
      memory: quarters(looks, & &1.memory),
      descriptors: quarters(looks, & &1.descriptors),
      threads: quarters(looks, & &1.threads),
      failures: Store.labelled(:failures)
    }
  end

  defp look_until(until, looks) do
    if now() < until, do: look_until(until, [look() | looks]), else: Enum.reverse(looks)
  end

  # One a second, from outside as Prometheus would.
  defp look do
    Process.sleep(900)
    {metrics, bytes} = :timer.tc(&fetch/0)
    [_, kb] = Regex.run(~r/VmRSS:\s+(\d+)/, File.read!("/proc/self/status"))

    %{
      round: (Store.get({:round_took, :healthy}) || 0) * 1_000,
      metrics: metrics / 1_000,
      bytes: bytes,
      memory: String.to_integer(kb),
      descriptors: length(File.ls!("/proc/self/fd")),
      threads: length(File.ls!("/proc/self/task"))
    }
  end

  # The middle of the first and of the last quarter.
  defp quarters(looks, fun) do
    values = Enum.map(looks, fun)
    quarter = max(div(length(values), 4), 1)
    {values |> Enum.take(quarter) |> middle(), values |> Enum.take(-quarter) |> middle()}
  end

  defp middle(values), do: values |> Enum.sort() |> Enum.at(div(length(values), 2))

  defp dial do
    options = [:binary, active: false]
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, NetnsAgent.Http.port(), options)
    socket
  end

  defp fetch do
    socket = dial()
    :ok = :gen_tcp.send(socket, "GET /metrics HTTP/1.0\r\n\r\n")
    {:ok, "HTTP/1.1 200" <> _ = first} = :gen_tcp.recv(socket, 0)
    size(socket, byte_size(first))
  end

  defp size(socket, bytes) do
    case :gen_tcp.recv(socket, 0) do
      {:ok, more} -> size(socket, bytes + byte_size(more))
      {:error, :closed} -> bytes
    end
  end

  # Beside a hundred clients that send a byte a second, in a VM of their own.
  defp attack(fun) do
    IO.puts("the same, beside clients that send a byte a second")
    script = Path.expand("clients.exs", __DIR__)
    args = [script, "#{NetnsAgent.Http.port()}"]
    port = Port.open({:spawn_executable, System.find_executable("elixir")}, [:binary, args: args])

    receive do
      {^port, {:data, "ready\n"}} -> :ok
    end

    result = fun.()
    Port.close(port)
    result
  end

  # ms of CPU of this VM, all threads, user and kernel: proc(5).
  defp cpu do
    [_, fields] = "/proc/self/stat" |> File.read!() |> String.split(") ")
    fields = String.split(fields)
    ticks = for n <- [11, 12], do: fields |> Enum.at(n) |> String.to_integer()
    Enum.sum(ticks) * 1_000 / @ticks
  end

  # Rounds of the agent's as it is, and with a socket for each namespace in the place of an exchange, by turns:
  # ms of CPU for one namespace.
  defp compare(name) do
    IO.puts("comparing Nlns.Netlink.stream/4 with sockets")
    Application.stop(:netns_agent)
    start(name, 3_600_000)
    config = Config.new!(Application.get_all_env(:netns_agent))
    await("all read", fn -> match?([{:fresh, n} | _] when n > 0, Store.labelled(:rounds)) end)

    ways = [stream: &Nlns.Netlink.stream/4, socket: &Load.Socket.stream/4]

    runs =
      for _ <- 1..5, {way, stream} <- ways do
        {before, scrapes} = {cpu(), Store.get(:scrapes)}
        read = &Netlink.read(&1, &2, stream)
        for _ <- 1..5, do: Scraper.handle_cast(:round, {:healthy, config, read})
        {way, (cpu() - before) / (Store.get(:scrapes) - scrapes)}
      end

    Application.stop(:netns_agent)
    for {way, _} <- ways, do: {way, middle(for {^way, ms} <- runs, do: ms)}
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

  defp await(what, fun, until \\ now() + 120_000) do
    cond do
      fun.() ->
        :ok

      now() > until ->
        IO.puts("NOT within two minutes: #{what}")
        System.halt(1)

      true ->
        Process.sleep(200)
        await(what, fun, until)
    end
  end

  defp report({count, seconds}, looking, m, attacked, ways, ip, churned) do
    percent = &"#{Float.round(&1 * 100, 1)} %"
    ms = &"#{Float.round(&1 * 1.0, 3)} ms"

    fetched = &"#{ms.(middle(&1.metrics))}, #{ms.(Enum.max(&1.metrics))} at most"

    from_to = fn key ->
      {first, last} = m[key]

      "#{first} at the beginning, #{last} at the end, #{elem(attacked[key], 1)} beside the clients"
    end

    IO.puts("""

    #{count} namespaces, read every #{div(@every, 1_000)} s, while #{churned} more came and went
      CPU of the agent             #{percent.(m.cpu / 2)} of two cores
        of that, for looking       #{percent.(looking / m.cpu)}
      CPU per scrape               #{ms.(ways[:stream])}, #{percent.(ways[:stream] / ip)} of what `ip -n NAME -s -j link` needs
        with sockets               #{ms.(ways[:socket])}: a stream takes #{Float.round(ways[:stream] / ways[:socket], 2)} of it
      a round takes                #{percent.(Enum.max(m.rounds) / @every)} of its 5 s at most
      /metrics                     #{div(m.bytes, 1_000)} kB, there after #{fetched.(m)}
        beside the clients         there after #{fetched.(attacked)}, with #{percent.(attacked.cpu / 2)} of two cores
      memory                       #{from_to.(:memory)} kB
      descriptors, threads         #{from_to.(:descriptors)}; #{from_to.(:threads)}
      scrapes that failed          #{inspect(m.failures)} of #{m.scrapes}
      namespaces still held        0, with the agent running, after all were deleted
    """)

    {first, last} = m.memory

    # What the VM takes at first is for the first minutes, and a short measurement has no others.
    if seconds >= 300 and last > first * 1.2 do
      IO.puts("memory GROWS")
      System.halt(1)
    end
  end

  defp now, do: System.monotonic_time(:millisecond)
end

Load.run(System.argv())
