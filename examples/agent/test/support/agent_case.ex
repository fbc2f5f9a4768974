defmodule NetnsAgent.Test.AgentCase do
  @moduledoc "Tests of a running agent, which follows only the namespaces that this run makes."

  use ExUnit.CaseTemplate

  alias NetnsAgent.Test.Netns

  # Quick, so that tests need not wait; the schedule is the same otherwise. What answers has the time for it.
  @settings [port: 0, discover_every: 50, scrape_every: 100, proc: nil] ++
              [scrape_timeout: 10_000, check_timeout: 10_000]

  # ms, far beyond what anything here takes on a busy machine: what is waited for comes, or is a failure.
  @patience 30_000

  using do
    quote do
      import NetnsAgent.Test.AgentCase
      import NetnsAgent.Test.Netns, only: [netns: 0, netns: 1, unique: 0, prefix: 0]
      alias NetnsAgent.Test.{Browser, Netns}
    end
  end

  @doc "Starts the agent with other settings, until the end of the test."
  def start_agent(settings \\ []) do
    before = Application.get_all_env(:netns_agent)
    settings = Keyword.merge([{:only, "^" <> Netns.prefix()} | @settings], settings)
    Application.put_all_env(netns_agent: settings)

    on_exit(fn ->
      Application.stop(:netns_agent)
      for {key, _} <- settings, do: Application.delete_env(:netns_agent, key)
      Application.put_all_env(netns_agent: before)
    end)

    {:ok, _} = Application.ensure_all_started(:netns_agent)
    :ok
  end

  @doc "The sample of a namespace, once `fun` is true for it."
  def await_sample(id, fun \\ fn _ -> true end) do
    eventually(fn ->
      with {:ok, {_namespace, sample}} when sample != nil <- NetnsAgent.Store.fetch(id),
           true <- fun.(sample) do
        sample
      else
        _ -> nil
      end
    end)
  end

  @doc "Has so many namespaces of two interfaces be known, which are nowhere, until the agent looks again."
  def pretend(count) do
    eventually(fn -> NetnsAgent.Store.get(:dropped) end)
    counters = Map.new(NetnsAgent.Sample.counters(), &{&1, 1_000_000_000})
    link = %{index: 1, name: "lo", up?: true, counters: counters, rates: %{}}

    sample =
      NetnsAgent.Sample.next(nil, {:ok, [link, %{link | index: 2, name: "eth0"}], false}, 0)

    for n <- 1..count do
      id = "namespace-#{n}"
      namespace = %NetnsAgent.Discovery.Namespace{id: id, identity: {n, nil}, paths: ["/#{id}"]}
      NetnsAgent.Store.put(namespace)
      NetnsAgent.Store.put_sample(id, sample)
    end
  end

  @doc "How long what comes may take, in ms."
  def patience, do: @patience

  @doc "What `fun` returns as soon as that is true; fails when patience ends."
  def eventually(fun), do: poll(fun, System.monotonic_time(:millisecond) + @patience)

  defp poll(fun, until) do
    cond do
      result = fun.() ->
        result

      System.monotonic_time(:millisecond) > until ->
        flunk("not within #{@patience} ms")

      true ->
        Process.sleep(10)
        poll(fun, until)
    end
  end

  @doc "Asks the agent: status, headers, body."
  def get(path, headers \\ ""), do: ask("GET", path, headers)
  def post(path, headers \\ ""), do: ask("POST", path, headers)

  defp ask(method, path, headers),
    do: request("#{method} #{path} HTTP/1.1\r\nhost: localhost\r\n#{headers}\r\n")

  @doc "Sends bytes to the agent and reads until it closes: status, headers, body."
  def request(bytes) do
    socket = dial()
    :gen_tcp.send(socket, bytes)
    answer = read_all(socket, "")
    [head, body] = String.split(answer, "\r\n\r\n", parts: 2)
    ["HTTP/1.1 " <> <<status::binary-size(3)>> <> _ | lines] = String.split(head, "\r\n")
    headers = for line <- lines, do: line |> String.split(": ", parts: 2) |> List.to_tuple()
    {String.to_integer(status), Map.new(headers), body}
  end

  def dial do
    options = [:binary, active: false]
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, NetnsAgent.Http.port(), options)
    socket
  end

  def read_all(socket, read) do
    case :gen_tcp.recv(socket, 0, @patience) do
      {:ok, more} -> read_all(socket, read <> more)
      {:error, :closed} -> read
    end
  end
end
