defmodule NetnsAgent.PageTest do
  use NetnsAgent.Test.AgentCase, async: false

  @evil "<img src=x onerror=alert(1)>\"'&"

  # A namespace under a name that iproute2 would not take.
  defp named(name) do
    dir = Path.join(System.tmp_dir!(), unique())
    on_exit(fn -> File.rm_rf!(dir) end)
    File.mkdir_p!(dir)
    file = netns()
    :ok = :file.make_symlink("/run/netns/" <> file, dir <> "/" <> name)
    {file, dir}
  end

  test "shows namespaces, interfaces, their state and the pool" do
    name = netns()
    broken = Netns.broken()
    start_agent()
    await_sample(name)
    await_sample(broken)
    {200, %{"content-type" => "text/html; charset=utf-8"}, body} = get("/")

    for text <- [name, broken, "EINVAL", "Helper threads", ">lo <", "/run/netns/#{name}"],
        do: assert(body =~ text)

    refute body =~ "Machines"
  end

  test "is one document: nothing in it is fetched from elsewhere" do
    start_agent()
    {200, %{"content-security-policy" => policy}, body} = get("/")
    assert policy =~ "default-src 'none'"
    assert [] == Regex.scan(~r/(src|href)="(?!data:,|\/metrics|\/cluster)[^"]*"/, body)
    assert [] == Regex.scan(~r/url\(|@import/, body)
  end

  test "names are text, wherever they stand" do
    {file, dir} = named(@evil)
    Netns.ip!(["-n", file, "link", "add", "<b>&\"'", "type", "veth", "peer", "name", "p"])
    start_agent(dirs: [dir], only: nil)
    await_sample(@evil)
    {200, _, body} = get("/?q=" <> URI.encode_www_form("<img"))
    refute body =~ "<img"
    refute body =~ "<b>&\""
    assert body =~ "&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;"
    assert body =~ "&lt;b&gt;&amp;&quot;&#39;"
  end

  test "the filter shows what has the text in its name" do
    {one, other} = {netns(), netns()}
    start_agent()
    await_sample(one)
    await_sample(other)
    {200, _, body} = get("/?q=" <> one)
    assert body =~ one
    refute body =~ other <> "<"
    {200, _, body} = get("/?q=nothing-has-this")
    assert body =~ "No namespace has this in its name"
  end

  test "a page of hundreds of namespaces says that it is not all" do
    {_file, dir} = named("plain")
    start_agent(dirs: [dir], only: nil, discover_every: 60_000)
    await_sample("plain")
    {:ok, {namespace, sample}} = NetnsAgent.Store.fetch("plain")

    for n <- 1..300 do
      NetnsAgent.Store.put(%{namespace | id: "n#{n}"})
      NetnsAgent.Store.put_sample(%{namespace | id: "n#{n}"}, sample)
    end

    {200, _, body} = get("/")
    assert body =~ "200 of 301 namespaces"
    assert byte_size(body) < 1_000_000
  end

  @tag :browser
  test "in a browser it is drawn, refreshes itself, and runs nothing that a name brings" do
    name = netns()
    {file, dir} = named(@evil)
    Netns.up_loopback(file)
    # The directory of the odd name comes first, so that it is what the namespace is called.
    start_agent(dirs: [dir, "/run/netns"], only: "^#{prefix()}|img")
    await_sample(name)
    await_sample(@evil)

    url = "http://127.0.0.1:#{NetnsAgent.Http.port()}/"

    dom = Browser.dom(url, 3_000)
    assert [_, refreshed] = Regex.run(~r/<html[^>]* data-refreshed="(\d+)"/, dom)
    assert String.to_integer(refreshed) >= 2
    assert dom =~ ~s(<span id="live" class="live">live</span>)
    assert dom =~ ~s(<b>#{name}</b>)
    assert dom =~ "<b>&lt;img src=x onerror=alert(1)&gt;"
    assert [] == Regex.scan(~r/<img/, dom)

    file = Path.join(dir, "page.png")
    Browser.screenshot(url, file)
    assert <<0x89, "PNG", _::binary>> = File.read!(file)
  end

  @tag :browser
  test "in a browser, a port is checked from the page" do
    name = netns()
    Netns.up_loopback(name)
    port = Netns.listen(name)
    start_agent()
    await_sample(name)
    {200, _, body} = get("/")
    # The real page, with a person's hands added at its end and allowed to be there.
    hands = """
    <script>
      document.querySelector('button[data-netns]').click();
      document.getElementById('port').value = #{port};
      document.querySelector('#check button').click();
    </script></body>
    """

    page = String.replace(body, "</body>", hands)
    url = serve_once(page)
    dom = Browser.dom(url, 2_000)
    assert [_, result] = Regex.run(~r/<output id="result"[^>]*>([^<]*)</, dom)
    assert result =~ ~r/^open \(\d+\.\d ms\)$/
  end

  # Serves the page, and passes everything else on to the agent, until the test ends.
  defp serve_once(page) do
    {:ok, listener} = :gen_tcp.listen(0, [:binary, active: false, ip: {127, 0, 0, 1}])
    {:ok, port} = :inet.port(listener)
    start_supervised!({Task, fn -> proxy(listener, page) end})
    "http://127.0.0.1:#{port}/"
  end

  defp proxy(listener, page) do
    {:ok, socket} = :gen_tcp.accept(listener)

    answer =
      case :gen_tcp.recv(socket, 0) do
        {:ok, "GET / " <> _} ->
          "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\nconnection: close\r\n\r\n" <>
            page

        {:ok, bytes} ->
          agent = dial()
          :gen_tcp.send(agent, bytes)
          read_all(agent, "")

        {:error, _} ->
          ""
      end

    :gen_tcp.send(socket, answer)
    :gen_tcp.close(socket)
    proxy(listener, page)
  end
end
