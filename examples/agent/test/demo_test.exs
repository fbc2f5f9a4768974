defmodule NetnsAgent.DemoTest do
  use NetnsAgent.Test.AgentCase, async: false

  @moduletag :demo
  @moduletag timeout: 300_000

  for signal <- ~w(TERM INT HUP) do
    test "the demonstration shows what it made, and removes it all on SIG#{signal}" do
      {port, pid, output} = start()
      [_, demo] = Regex.run(~r/Namespaces: (demo\d+)-web/, output)
      [_, url] = Regex.run(~r/127\.0\.0\.1:(\d+)\//, output)
      http = String.to_integer(url)

      eventually(fn ->
        fetch(http, "/metrics") =~ ~s(netns_agent_namespace_up{netns="#{demo}-web"} 1)
      end)

      assert fetch(http, "/metrics") =~ ~s(netns_agent_namespace_up{netns="#{demo}-broken"} 0)

      eventually(fn ->
        fetch(http, "/check?netns=#{demo}-db&port=5432", "POST") =~ ~s("result":"open")
      end)

      Netns.kill(pid, unquote(signal))
      assert finish(port, "") =~ "The namespaces are removed."
      assert [] == Enum.filter(File.ls!("/run/netns"), &String.starts_with?(&1, demo))
      assert {:error, :econnrefused} = :gen_tcp.connect({127, 0, 0, 1}, http, [])
    end
  end

  defp start do
    options = [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      env: [
        {~c"MIX_ENV", ~c"dev"},
        {~c"NETNS_AGENT_PORT", ~c"0"},
        {~c"NETNS_AGENT_ONLY", ~c"^demo"}
      ]
    ]

    port = Port.open({:spawn_executable, Path.expand("../run", __DIR__)}, options)
    {:os_pid, pid} = Port.info(port, :os_pid)
    on_exit(fn -> Netns.kill(pid, "TERM", "run") end)
    {port, pid, read_until(port, "netns_agent: http://", "")}
  end

  defp read_until(port, text, read) do
    if read =~ text do
      read
    else
      receive do
        {^port, {:data, more}} -> read_until(port, text, read <> more)
        {^port, {:exit_status, status}} -> flunk("ended with #{status}: #{read}")
      after
        200_000 -> flunk("does not begin: #{read}")
      end
    end
  end

  defp finish(port, read) do
    receive do
      {^port, {:data, more}} -> finish(port, read <> more)
      {^port, {:exit_status, _}} -> read
    after
      20_000 -> flunk("does not end: #{read}")
    end
  end

  defp fetch(port, path, method \\ "GET") do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false])
    :gen_tcp.send(socket, "#{method} #{path} HTTP/1.0\r\n\r\n")
    read_all(socket, "")
  end
end
