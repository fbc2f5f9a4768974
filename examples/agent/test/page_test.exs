defmodule NetnsAgent.PageTest do
  use NetnsAgent.Test.AgentCase, async: false

  # Names that a container's owner could choose, and what each is called.
  @hostile %{
    "<img src=x onerror=alert(1)>\"'&" => "<img src=x onerror=alert(1)>\"'&",
    "javascript:alert(1)" => "javascript:alert(1)",
    "a\nb\rc\td" => ~S(a\x0Ab\x0Dc\x09d),
    <<"a", 0xFF>> => ~S(a\xFF),
    <<"a", 0xFE>> => ~S(a\xFE),
    "a\\xFF" => ~S(a\\xFF),
    "moc.\u202Egnorw" => ~S(moc.\xE2\x80\xAEgnorw),
    "  x" => "  x",
    "${alert(1)}`{{1}}" => "${alert(1)}`{{1}}",
    "__proto__" => "__proto__"
  }

  # Namespaces under names that iproute2 would not take; the directory.
  defp named(names) do
    dir = Path.join(System.tmp_dir!(), unique())
    on_exit(fn -> File.rm_rf!(dir) end)
    File.mkdir_p!(dir)
    for name <- names, do: :ok = :file.make_symlink("/run/netns/" <> netns(), dir <> "/" <> name)
    dir
  end

  test "shows namespaces, interfaces, their state and the pool" do
    name = netns()
    broken = Netns.broken()
    start_agent()
    await_sample(name)
    await_sample(broken)
    assert {200, %{"content-type" => "application/json"}, body} = get("/namespaces")

    for text <- [
          ~s("id":"#{name}"),
          ~s("id":"#{broken}"),
          "EINVAL",
          ~s("name":"lo"),
          ~s("path":"/run/netns/#{name}"),
          ~s("state":"failing"),
          ~s("max_helpers":256),
          ~s("node":"#{node()}")
        ],
        do: assert(body =~ text)
  end

  test "is one document: nothing in it is fetched from elsewhere, and nothing in it is anybody's" do
    netns()
    start_agent()

    {200, %{"content-security-policy" => policy, "content-type" => "text/html; charset=utf-8"},
     body} = get("/")

    assert policy =~ "default-src 'none'"
    assert [] == Regex.scan(~r/(src|href)="(?!data:,|\/metrics|\/cluster)[^"]*"/, body)

    assert [] ==
             Regex.scan(
               ~r/url\(|@import|innerHTML|outerHTML|insertAdjacentHTML|document.write|eval/,
               body
             )

    refute body =~ prefix()
  end

  test "the filter shows what has the text in its name" do
    {one, other} = {netns(), netns()}
    start_agent()
    await_sample(one)
    await_sample(other)
    {200, _, body} = get("/namespaces?q=" <> one)
    assert body =~ one
    refute body =~ other
    {200, _, body} = get("/namespaces?q=" <> URI.encode_www_form("*.["))
    assert body =~ ~s("namespaces":[])
  end

  test "a page of hundreds of namespaces says that it is not all" do
    start_agent(dirs: [], discover_every: 60_000)
    pretend(300)

    {200, _, body} = get("/namespaces")
    assert body =~ ~s("matching":300)
    assert 200 == body |> String.split(~s("id":)) |> tl() |> length()
  end

  @tag :browser
  test "in a browser it is drawn, refreshes itself, and runs nothing that a name brings" do
    name = netns()
    dir = named(Map.keys(@hostile))
    namespace = Netns.target(dir <> "/__proto__")
    Netns.ip!(["-n", namespace, "link", "add", "<b>&\"'", "type", "veth", "peer", "name", "p"])
    start_agent(dirs: [dir, "/run/netns"], only: nil)
    await_sample(name)

    url = "http://127.0.0.1:#{NetnsAgent.Http.port()}/"
    dom = Browser.dom(url, 3_000)
    assert [_, refreshed] = Regex.run(~r/<html[^>]* data-refreshed="(\d+)"/, dom)
    assert String.to_integer(refreshed) >= 2
    assert dom =~ ~s(<span id="live" class="good">live</span>)
    assert dom =~ ~s(<b>#{name}</b>)
    assert dom =~ "<td>&lt;b&gt;&amp;\"' (down)</td>"
    assert [] == Regex.scan(~r/<img/, dom)
    for {_, id} <- @hostile, do: assert(dom =~ "<b>#{escaped(id)}</b>")

    file = Path.join(dir, "page.png")
    Browser.screenshot(url, file)
    assert <<0x89, "PNG", _::binary>> = File.read!(file)
  end

  # As a browser writes text between tags.
  defp escaped(text) do
    String.replace(
      text,
      ["&", "<", ">"],
      &Map.fetch!(%{"&" => "&amp;", "<" => "&lt;", ">" => "&gt;"}, &1)
    )
  end

  @tag :browser
  test "in a browser, a port is checked from the page, in the namespace of each button" do
    names = Map.keys(@hostile)
    dir = named(names)
    start_agent(dirs: [dir], only: nil)
    for {_, id} <- @hostile, do: await_sample(id)
    open = Netns.target(dir <> <<"/a", 0xFF>>)
    for name <- names, do: Netns.up_loopback(Netns.target(dir <> "/" <> name))
    port = Netns.listen(open)
    # The real page, with a person's hands added at its end and allowed to be there.
    hands = """
    <script>
      const settled = async (done) => { while (!done()) await new Promise((next) => setTimeout(next, 5)); };
      (async () => {
        const buttons = () => [...document.querySelectorAll("#namespaces button")];
        await settled(() => buttons().length === #{length(names)});
        for (let n = 0; n < #{length(names)}; n++) {
          const result = document.getElementById("result");
          result.textContent = "";
          buttons()[n].click();
          document.getElementById("port").value = #{port};
          document.querySelector("#check button").click();
          await settled(() => result.textContent);
          const line = document.createElement("li");
          line.textContent = document.getElementById("netns").value + " is " + result.textContent.replace(/ .*/, "");
          document.body.append(line);
        }
      })();
    </script>
    """

    {200, _, body} = get("/")
    dom = Browser.dom(serve(body <> hands), 20_000)
    lines = for [_, line] <- Regex.scan(~r/<li>(.*?)<\/li>/s, dom), do: line

    expected =
      for {name, id} <- @hostile,
          do: escaped(id) <> if(name == <<"a", 0xFF>>, do: " is open", else: " is refused")

    assert Enum.sort(expected) == Enum.sort(lines)
  end

  # Serves the page, and passes everything else on to the agent, until the test ends.
  defp serve(page) do
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
