defmodule Nlns.AsyncTest do
  use Nlns.NetnsCase

  alias Nlns.Request

  setup do
    %{path: netns()}
  end

  test "a request is answered by one message with a handle", %{path: path} do
    assert %Request{ref: ref, owner: owner} = Nlns.open_in_netns_async(path, 0)
    assert is_reference(ref)
    assert owner == self()

    assert_receive {:nlns, ^ref, {:ok, %Handle{} = handle}}
    assert {:ok, fd} = Handle.to_fd(handle)
    assert "lo" in Rtnetlink.links(fd)
    Nlns.close_fd(fd)
    fence(path)
  end

  test "await returns what the message has", %{path: path} do
    inside = Netns.add_link(path)
    assert {:ok, %Handle{} = handle} = path |> Nlns.open_in_netns_async(0) |> Nlns.await()
    assert {:ok, fd} = Handle.to_fd(handle)
    assert inside in Rtnetlink.links(fd)
    Nlns.close_fd(fd)

    assert path |> Nlns.open_in_netns_async(999) |> Nlns.await(:infinity) ==
             {:error, {:socket, 93}}
  end

  test "a refusal at once is a message too" do
    assert %Request{ref: ref} = Nlns.open_in_netns_async("a\0b", 0)
    assert_received {:nlns, ^ref, {:error, {:open, 22}}}

    request = Nlns.open_in_netns_async(String.duplicate("x", 4_096), 0)
    assert Nlns.await(request, 0) == {:error, {:open, 36}}

    # Cancelled, the message is gone.
    assert Nlns.cancel(Nlns.open_in_netns_async("a\0b", 0)) == :ok
  end

  test "a request awaited twice times out the second time, and nothing else happens",
       %{path: path} do
    request = Nlns.open_in_netns_async(path, 0)
    assert {:ok, handle} = Nlns.await(request)
    assert {:ok, fd} = Handle.to_fd(handle)
    assert Nlns.await(request, 10) == {:error, {:thread, 110}}
    # The descriptor that the first one gave is not the second one's to close.
    assert "lo" in Rtnetlink.links(fd)
    Nlns.close_fd(fd)

    failing = Nlns.open_in_netns_async(path <> "-not", 0)
    assert Nlns.await(failing) == {:error, {:open, 2}}
    assert Nlns.await(failing, 10) == {:error, {:thread, 110}}
  end

  test "a request whose message was received before times out when it is awaited", %{path: path} do
    %Request{ref: ref} = request = Nlns.open_in_netns_async(path, 0)
    assert_receive {:nlns, ^ref, {:ok, handle}}
    assert Nlns.await(request, 10) == {:error, {:thread, 110}}
    # Running out of time cancelled it.
    assert Handle.to_fd(handle) == {:error, :closed}
  end

  test "only the process that made a request can await or cancel it", %{path: path} do
    request = Nlns.open_in_netns_async(path, 0)

    message = "expected a request of the calling process, got one that #{inspect(self())} made"

    for function <- [:await, :cancel] do
      task =
        Task.async(fn ->
          assert_raise ArgumentError, message, fn -> apply(Nlns, function, [request]) end
        end)

      Task.await(task, within())
    end

    assert {:ok, handle} = Nlns.await(request)
    Handle.close(handle)
  end

  test "await without a time waits for the request's own", %{path: path} do
    refused = Nlns.open_async(path, :inet, :dgram, :udp, timeout: 0)
    before = System.monotonic_time(:millisecond)

    # Its message is taken out; then there is nothing that could come.
    %Request{ref: ref} = refused
    assert_receive {:nlns, ^ref, {:ok, _handle}}
    assert Nlns.await(refused) == {:error, {:thread, 110}}
    assert System.monotonic_time(:millisecond) - before < 5_000
  end

  test "the answers of one caller and path come in the order of the requests", %{path: path} do
    # A failure is as much an answer as a socket.
    requests =
      for n <- 1..900, do: Nlns.open_in_netns_async(path, Enum.at([0, 999, 16], rem(n, 3)))

    answers = for _ <- requests, do: next_answer()
    assert Enum.map(answers, &elem(&1, 0)) == Enum.map(requests, & &1.ref)

    for {{_, answer}, n} <- Enum.with_index(answers, 1) do
      if rem(n, 3) == 1,
        do: assert(answer == {:error, {:socket, 93}}),
        else: assert({:ok, %Handle{}} = answer)
    end

    for {_, {:ok, handle}} <- answers, do: Handle.close(handle)
  end

  test "many requests are under way at once, each with an answer of its own", %{path: path} do
    paths = [path | for(_ <- 1..4, do: netns())]
    cookies = Map.new(paths, &{&1, cookie_at(&1)})

    requests =
      for _ <- 1..100, path <- paths, into: %{} do
        request = Nlns.open_in_netns_async(path, 0)
        {request.ref, path}
      end

    for _ <- 1..500 do
      {ref, {:ok, handle}} = next_answer()
      {:ok, socket} = Handle.to_socket(handle)
      assert Rtnetlink.cookie(socket) == cookies[requests[ref]]
      :socket.close(socket)
    end
  end

  test "a request says little about itself when it is inspected", %{path: path} do
    request = Nlns.open_in_netns_async(path, 0)
    assert inspect(request) == "#Nlns.Request<#{inspect(request.ref)}>"
    Nlns.cancel(request)
  end

  defp next_answer do
    receive do
      {:nlns, ref, answer} -> {ref, answer}
    after
      within() -> flunk("no answer")
    end
  end
end
