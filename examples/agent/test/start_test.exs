defmodule NetnsAgent.StartTest do
  use NetnsAgent.Test.AgentCase, async: false

  # The agent as people start it, in a VM of its own.
  defp start(env) do
    env = [
      {"MIX_ENV", "test"},
      {"NETNS_AGENT_PORT", "0"},
      {"NETNS_AGENT_ONLY", "^#{prefix()}"} | env
    ]

    options = [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      args: ~w(--erl +Bi -S mix run --no-halt --no-compile --no-deps-check),
      env: for({key, value} <- env, do: {to_charlist(key), to_charlist(value)})
    ]

    port = Port.open({:spawn_executable, System.find_executable("elixir")}, options)
    {:os_pid, pid} = Port.info(port, :os_pid)
    on_exit(fn -> Netns.kill(pid, "KILL", "mix") end)
    {port, pid}
  end

  defp read_until(port, pattern, read \\ "") do
    if Regex.match?(pattern, read) do
      read
    else
      receive do
        {^port, {:data, more}} -> read_until(port, pattern, read <> more)
        {^port, {:exit_status, status}} -> flunk("ended with #{status}: #{read}")
      after
        60_000 -> flunk("does not begin: #{read}")
      end
    end
  end

  defp ended(port, read \\ "") do
    receive do
      {^port, {:data, more}} -> ended(port, read <> more)
      {^port, {:exit_status, status}} -> {status, read}
    after
      60_000 -> flunk("does not end: #{read}")
    end
  end

  test "SIGTERM ends it at once, with clients of every kind, and its port is free" do
    name = netns()
    Netns.ip!(["-n", name, "route", "add", "blackhole", "10.9.9.9"])
    {vm, pid} = start([])
    [_, http] = Regex.run(~r/127\.0\.0\.1:(\d+)\//, read_until(vm, ~r/:\d+\/\n/))
    http = String.to_integer(http)
    dial = fn -> :gen_tcp.connect({127, 0, 0, 1}, http, [:binary, active: false]) end

    clients =
      for bytes <- [
            "",
            "GET / HT",
            "GET /metrics HTTP/1.0\r\n\r\n",
            "POST /check?netns=#{name}&port=1&address=10.9.9.9 HTTP/1.0\r\n\r\n"
          ],
          _ <- 1..10 do
        {:ok, socket} = dial.()
        :gen_tcp.send(socket, bytes)
        socket
      end

    Netns.kill(pid, "TERM")
    {time, {0, _}} = :timer.tc(fn -> ended(vm) end)
    assert time < 5_000_000
    for socket <- clients, do: :gen_tcp.close(socket)
    assert {:error, :econnrefused} = dial.()
    {:ok, listener} = :gen_tcp.listen(http, ip: {127, 0, 0, 1}, reuseaddr: true)
    :gen_tcp.close(listener)
  end

  test "without descriptors, clients that wait give way to new ones" do
    {vm, pid} = start([])
    [_, http] = Regex.run(~r/127\.0\.0\.1:(\d+)\//, read_until(vm, ~r/:\d+\/\n/))
    http = String.to_integer(http)

    dial = fn request ->
      {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, http, [:binary, active: false])
      :ok = :gen_tcp.send(socket, request)
      socket
    end

    descriptors = fn -> "/proc/#{pid}/fd" |> File.ls!() |> Enum.map(&String.to_integer/1) end
    spare = 5
    limit = Enum.max(descriptors.()) + 1 + spare
    limit! = &({_, 0} = System.cmd("prlimit", ["--pid", "#{pid}", "--nofile=#{&1}:"]))
    limit!.(limit)

    idle = for _ <- 1..(4 * spare), do: dial.("GET / HT")
    eventually(fn -> length(descriptors.()) == limit end)

    for _ <- 1..10 do
      socket = dial.("GET /metrics HTTP/1.0\r\n\r\n")
      assert read_all(socket, "") =~ ~r/^HTTP\S+ 200 /
    end

    # Nor has anything crashed that would begin anew.
    Enum.each(idle, &:gen_tcp.close/1)
    limit!.(limit + 100)
    assert read_all(dial.("GET / HTTP/1.0\r\n\r\n"), "") =~ ~r/^HTTP\S+ 200 /
    Netns.kill(pid, "TERM")
    assert {0, output} = ended(vm)
    refute output =~ "error"
  end

  test "a wrong setting in the environment ends it, with a sentence that names it" do
    for {variable, value, key} <- [
          {"NETNS_AGENT_PORT", "http", "port"},
          {"NETNS_AGENT_IP", "localhost", "ip"},
          {"NETNS_AGENT_ONLY", "(", "only"}
        ] do
      {vm, _pid} = start([{variable, value}])
      {status, output} = ended(vm)
      assert status != 0
      assert output =~ "config :netns_agent, #{key}: did not expect #{inspect(value)}"
    end
  end

  test "a port in use ends it, with a sentence that names it" do
    {:ok, listener} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, taken} = :inet.port(listener)
    {vm, _pid} = start([{"NETNS_AGENT_PORT", "#{taken}"}])
    {status, output} = ended(vm)
    assert status != 0
    assert output =~ "cannot listen on http://127.0.0.1:#{taken}/: address already in use"
    :gen_tcp.close(listener)
  end

  test "directories, procfs and names are settings of the environment" do
    dir = Path.join(System.tmp_dir!(), unique())
    on_exit(fn -> File.rm_rf!(dir) end)
    File.mkdir_p!(dir)
    File.ln_s!("/run/netns/" <> netns(), dir <> "/#{prefix()}there")

    {vm, _pid} =
      start([
        {"NETNS_AGENT_DIRS", "/nowhere,#{dir}"},
        {"NETNS_AGENT_PROC", ""},
        {"NETNS_AGENT_HOSTS", "one,two"}
      ])

    [_, http] = Regex.run(~r/127\.0\.0\.1:(\d+)\//, read_until(vm, ~r/:\d+\/\n/))

    eventually(fn ->
      {:ok, socket} =
        :gen_tcp.connect({127, 0, 0, 1}, String.to_integer(http), [:binary, active: false])

      :gen_tcp.send(socket, "GET /namespaces HTTP/1.1\r\nhost: two:80\r\n\r\n")
      read_all(socket, "") =~ ~s("path":"#{dir}/#{prefix()}there")
    end)
  end
end
