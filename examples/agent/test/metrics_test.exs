defmodule NetnsAgent.MetricsTest do
  use NetnsAgent.Test.AgentCase, async: false

  @odd "a b\\c\"d\ne<b>ü" <> <<0xFF>>

  defp line(body, name, labels) do
    start = "#{name}{#{labels}} "

    for line <- String.split(body, "\n"), String.starts_with?(line, start) do
      line |> String.replace_prefix(start, "") |> String.to_integer()
    end
  end

  test "counters are those that ip shows, interface by interface" do
    {one, other} = {netns(), netns()}
    Netns.connect(one, other)
    Netns.send_udp(one, {10, 99, 0, 2}, 500, 20)
    start_agent()
    await_sample(one)

    # The text may be a second old.
    body =
      eventually(fn ->
        {200, _, body} = get("/metrics")

        agree? =
          for {link, counters} <- Netns.counters(one), {key, n} <- counters do
            labels = ~s(netns="#{one}",interface="#{link}")
            [n] == line(body, "netns_interface_#{key}_total", labels)
          end

        if length(agree?) == 16 and Enum.all?(agree?), do: body
      end)

    assert [1] == line(body, "netns_agent_namespace_up", ~s(netns="#{one}"))
    assert [1] == line(body, "netns_interface_up", ~s(netns="#{one}",interface="to2"))

    for counter <- ~w(opened exchanged woken),
        do: assert(body =~ ~r/^nlns_#{counter}_total \d+$/m)
  end

  test "a namespace that fails is down, and shows no interfaces" do
    name = Netns.broken()
    start_agent()
    await_sample(name)
    {200, _, body} = get("/metrics")
    assert [0] == line(body, "netns_agent_namespace_up", ~s(netns="#{name}"))
    assert body =~ ~r/^netns_agent_scrape_failures_total{at="setns"} \d+$/m
    assert [] == line(body, "netns_interface_up", ~s(netns="#{name}",interface="lo"))
  end

  @tag :promtool
  test "promtool finds nothing to complain about, whatever the names" do
    dir = Path.join(System.tmp_dir!(), unique())
    on_exit(fn -> File.rm_rf!(dir) end)
    File.mkdir_p!(dir)
    name = netns()
    :ok = :file.make_symlink("/run/netns/" <> name, dir <> "/" <> @odd)

    Netns.ip!([
      "-n",
      name,
      "link",
      "add",
      "a\"b\\",
      "type",
      "veth",
      "peer",
      "name",
      <<"<i>", 0xFE>>
    ])

    broken = Netns.broken()
    File.ln_s!("/run/netns/" <> broken, dir <> "/broken")
    pid = Netns.process()
    start_agent(dirs: [dir], only: nil, proc: "/proc", max_namespaces: 1_000)
    await_sample("a b\\\\c\"d\\x0Ae<b>ü\\xFF")
    await_sample("broken")
    await_sample("pid:#{pid}")

    {200, %{"content-type" => "text/plain; version=0.0.4; charset=utf-8"}, body} = get("/metrics")
    assert String.valid?(body)
    assert body =~ ~S(interface="a\"b\\\\")
    assert body =~ ~S(interface="<i>\\xFE")
    file = Path.join(dir, "metrics")
    File.write!(file, body)
    command = ["-c", "promtool check metrics < \"$1\"", "sh", file]
    assert {"", 0} == System.cmd("sh", command, stderr_to_stdout: true)
  end
end
