defmodule NetnsAgent.HttpTest do
  use NetnsAgent.Test.AgentCase, async: false

  test "checks a port on request" do
    name = netns()
    Netns.up_loopback(name)
    port = Netns.listen(name)
    start_agent()
    await_sample(name)

    assert {200, %{"content-type" => "application/json"}, body} =
             get("/check?netns=#{name}&port=#{port}")

    assert body =~ ~s("result":"open")
    assert {503, _, body} = get("/check?netns=#{name}&port=1&address=127.0.0.2")
    assert body =~ ~s("result":"refused")
    assert {404, _, _} = get("/check?netns=#{unique()}&port=1")

    for query <- [
          "",
          "netns=x",
          "netns=x&port=0",
          "netns=x&port=65536",
          "netns=x&port=a",
          "netns=x&port=1&address=localhost",
          "netns=x&port=1&timeout=0",
          "netns=x&port=1&timeout=99999",
          "netns=%"
        ] do
      assert {400, _, _} = get("/check?" <> query)
    end
  end

  test "names with any bytes can be asked for" do
    name = prefix() <> "a b<&\"" <> <<0xFF>>
    path = "/run/netns/" <> name
    Netns.netns(prefix() <> "plain")
    dir = Path.join(System.tmp_dir!(), unique())
    on_exit(fn -> File.rm_rf!(dir) end)
    File.mkdir_p!(dir)
    :ok = :file.make_symlink("/run/netns/" <> prefix() <> "plain", dir <> "/" <> name)
    start_agent(dirs: [dir])
    await_sample(name)
    assert {503, _, body} = get("/check?netns=#{URI.encode_www_form(name)}&port=1")
    assert body =~ "a b<&\\\"\uFFFD"
    refute File.exists?(path)
  end

  test "answers HEAD without a body, and refuses other methods and paths" do
    start_agent()
    assert {200, %{"content-length" => length}, ""} = request("HEAD / HTTP/1.1\r\n\r\n")
    assert String.to_integer(length) > 1_000
    assert {405, _, _} = request("POST /check HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
    assert {404, _, _} = get("/etc/passwd")
    assert {404, _, _} = get("//")
    assert {400, _, _} = request("GET * HTTP/1.1\r\n\r\n")
    assert {400, _, _} = request("rubbish\r\n\r\n")
    assert {200, _, _} = request("GET /metrics HTTP/1.0\r\n\r\n")
  end

  test "bounds the size of what it reads" do
    start_agent()
    long = String.duplicate("x", 20_000)
    assert refused?("GET /?q=#{long} HTTP/1.1\r\n\r\n")
    assert refused?("GET / HTTP/1.1\r\nx: #{long}\r\n\r\n")
    assert refused?(["GET / HTTP/1.1\r\n", for(n <- 1..100, do: "x#{n}: y\r\n"), "\r\n"])
    assert {200, _, _} = get("/")
  end

  # Refused with a status, or with the connection reset as more came than was read.
  defp refused?(bytes) do
    socket = dial()
    :gen_tcp.send(socket, bytes)

    case :gen_tcp.recv(socket, 0, 10_000) do
      {:ok, "HTTP/1.1 4" <> _} -> true
      {:ok, _} -> false
      {:error, reason} -> reason in [:closed, :econnreset]
    end
  end

  test "a client that says nothing is sent away, and others are served meanwhile" do
    start_agent(connections: 4)
    silent = for _ <- 1..3, do: dial()
    {time, {200, _, _}} = :timer.tc(fn -> get("/metrics") end)
    assert time < 2_000_000
    # One connection more than are served at once waits for one of the silent to be sent away.
    slow = dial()
    :gen_tcp.send(slow, "GET / HTT")
    assert {200, _, _} = get("/metrics")
    for socket <- [slow | silent], do: assert("" == read_all(socket, "", 10_000))
  end

  test "many clients at once are all served, by no more processes than configured" do
    start_agent(connections: 3)
    for _ <- 1..5, do: netns()
    answers = Task.async_stream(1..100, fn _ -> get("/metrics") end, max_concurrency: 50)
    for {:ok, answer} <- answers, do: assert({200, _, _} = answer)
    assert 3 == Supervisor.count_children(NetnsAgent.Http).workers
  end

  test "a client that goes away does no harm" do
    start_agent(connections: 2)

    for _ <- 1..50 do
      socket = dial()
      :gen_tcp.send(socket, "GET / HTTP/1.1\r\n\r\n")
      :gen_tcp.close(socket)
    end

    assert {200, _, _} = get("/")
  end

  test "a port that is taken is said so, and by name" do
    start_agent()
    taken = NetnsAgent.Http.port()
    Application.stop(:netns_agent)
    {:ok, listener} = :gen_tcp.listen(taken, ip: {127, 0, 0, 1}, reuseaddr: true)
    Application.put_env(:netns_agent, :port, taken)
    assert {:error, {reason, _}} = Application.start(:netns_agent)

    assert inspect(reason) =~
             "cannot listen on http://127.0.0.1:#{taken}/: address already in use"

    :gen_tcp.close(listener)
  end
end
