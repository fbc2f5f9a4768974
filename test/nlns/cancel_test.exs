defmodule Nlns.CancelTest do
  use Nlns.NetnsCase

  @timed_out {:error, {:thread, 110}}

  setup do
    path = netns()
    fence(path)
    %{path: path, sockets: Proc.sockets()}
  end

  test "cancelled before the answer, a request has none and opens nothing",
       %{path: path, sockets: sockets} do
    %{cancelled: cancelled} = Nlns.info()

    # So many that some are not answered yet when they are cancelled, in one round or another.
    assert Enum.any?(1..100, fn _ ->
             requests = for _ <- 1..600, do: Nlns.open_in_netns_async(path, 0)
             for request <- Enum.reverse(requests), do: assert(Nlns.cancel(request) == :ok)
             fence(path)
             refute_messages()
             assert Proc.sockets() == sockets
             Nlns.info().cancelled > cancelled
           end)
  end

  test "cancelled after the answer has arrived, the message is gone and the descriptor closed",
       %{path: path, sockets: sockets} do
    request = Nlns.open_in_netns_async(path, 0)
    fence(path)
    assert {:message_queue_len, 1} = Process.info(self(), :message_queue_len)
    assert Proc.sockets() == sockets + 1
    assert Nlns.cancel(request) == :ok
    refute_messages()
    assert Proc.sockets() == sockets
  end

  test "cancelled after the message was received, the handle is spent",
       %{path: path, sockets: sockets} do
    request = Nlns.open_in_netns_async(path, 0)
    handle = handle(request)
    assert Nlns.cancel(request) == :ok
    assert Proc.sockets() == sockets
    assert Handle.to_fd(handle) == {:error, :closed}
    assert Handle.to_socket(handle) == {:error, :closed}
    assert Handle.close(handle) == :ok
  end

  test "cancelled after the descriptor was taken, nothing is closed", %{path: path} do
    request = Nlns.open_in_netns_async(path, 0)
    assert {:ok, handle} = Nlns.await(request)
    assert {:ok, fd} = Handle.to_fd(handle)
    assert Nlns.cancel(request) == :ok
    assert "lo" in Rtnetlink.links(fd)
    Nlns.close_fd(fd)
  end

  test "cancelled at any moment, twice, no message comes and nothing is open",
       %{path: path, sockets: sockets} do
    for n <- 1..3_000 do
      request = Nlns.open_in_netns_async(path, Enum.at([0, 999], rem(n, 2)))
      spin(rem(n, 60))
      assert Nlns.cancel(request) == :ok
      # From then on, not sooner or later.
      assert {:message_queue_len, 0} = Process.info(self(), :message_queue_len)
      assert Nlns.cancel(request) == :ok
    end

    fence(path)
    refute_messages()
    assert Proc.sockets() == sockets
  end

  test "a timeout of nothing answers at once and leaves neither message nor descriptor",
       %{path: path, sockets: sockets} do
    answers =
      for _ <- 1..20 do
        # Its turn is after these; alone, it may be answered before it looks.
        before = for _ <- 1..100, do: Nlns.open_in_netns_async(path, 0)
        answers = for _ <- 1..25, do: close(Nlns.open_in_netns(path, 0, 0))
        for request <- before, do: :closed = close(Nlns.await(request))
        answers
      end

    answers = List.flatten(answers)
    assert @timed_out in answers
    assert Enum.uniq(answers) -- [:closed, @timed_out] == []
    fence(path)
    refute_messages()
    assert Proc.sockets() == sockets
  end

  test "a timeout that runs out while the answer is made leaves neither message nor descriptor",
       %{path: path, sockets: sockets} do
    # Callers that hinder each other just enough.
    callers =
      for _ <- 1..50 do
        Task.async(fn ->
          answers = for n <- 1..40, do: close(Nlns.open_in_netns(path, 0, rem(n, 3)))
          fence(path)
          refute_messages()
          answers
        end)
      end

    answers = Enum.flat_map(callers, &Task.await(&1, :infinity))
    assert Enum.uniq(answers) -- [:closed, @timed_out] == []
    assert Proc.sockets() == sockets
  end

  test "await that runs out of time has cancelled the request", %{path: path, sockets: sockets} do
    for _ <- 1..200 do
      request = Nlns.open_in_netns_async(path, 0)
      assert close(Nlns.await(request, 0)) in [:closed, @timed_out]
      assert {:message_queue_len, 0} = Process.info(self(), :message_queue_len)
    end

    fence(path)
    refute_messages()
    assert Proc.sockets() == sockets
  end

  test "the messages of others stay where they are", %{path: path} do
    send(self(), {:nlns, make_ref(), :not_mine})
    send(self(), :other)
    assert close(Nlns.open_in_netns(path, 0)) == :closed
    for timeout <- [0, 0, 1], do: close(Nlns.open_in_netns(path, 0, timeout))
    Nlns.cancel(Nlns.open_in_netns_async(path, 0))
    fence(path)
    assert_received {:nlns, _, :not_mine}
    assert_received :other
  end

  defp close({:ok, %Handle{} = handle}) do
    Handle.close(handle)
    :closed
  end

  defp close({:ok, fd}) do
    Nlns.close_fd(fd)
    :closed
  end

  defp close(error), do: error

  defp spin(0), do: :ok
  defp spin(n), do: Enum.each(1..(n * 20), fn _ -> :ok end)
end
