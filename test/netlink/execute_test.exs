defmodule Nlns.Netlink.ExecuteTest do
  # An exchange as such: where it happens, what it answers, how it fails.
  use Nlns.NetnsCase

  alias Nlns.{Links, Netlink}
  alias Nlns.Netlink.Message

  @timed_out {:error, {:thread, 110}}

  setup do
    {:ok, path: netns()}
  end

  test "answers_come_from_the_namespace", %{path: path} do
    name = Netns.add_link(path)
    other = netns()
    assert {:ok, messages} = Netlink.execute(path, :route, Links.dump())
    assert name in Links.names(messages)
    assert {:ok, [lo]} = Netlink.execute(other, 0, Links.dump())
    assert Links.names([lo]) == ["lo"]
    assert %Message{type: 16, flags: 2, seq: seq, pid: pid, payload: payload} = lo
    assert seq > 0 and pid > 0 and is_binary(payload)
  end

  test "process_and_name_are_namespaces_too", %{path: path} do
    process = Netns.process()
    for_process = Netlink.execute({:pid, process.pid}, :route, Links.dump())
    assert {:ok, [_]} = for_process
    Netns.kill(process)
    assert {:error, {:open, 2}} = Netlink.execute({:pid, process.pid}, :route, Links.dump())
    assert {:ok, [_]} = Netlink.execute({:name, Path.basename(path)}, :route, Links.dump())
  end

  test "each_step_that_fails_is_named", %{path: path} do
    dump = Links.dump()
    assert {:error, {:open, 2}} = Netlink.execute(path <> "x", :route, dump)
    assert {:error, {:open, 22}} = Netlink.execute(path <> "\0", :route, dump)
    assert {:error, {:setns, 22}} = Netlink.execute("/proc/self/ns/uts", :route, dump)
    assert {:error, {:socket, 93}} = Netlink.execute(path, 31, dump)
    # NETLINK_USERSOCK has no kernel at its other end.
    assert {:error, {:send, 111}} = Netlink.execute(path, :usersock, dump)
    assert {:error, {:receive, 27}} = Netlink.execute(path, :route, dump, max_reply: 100)
    too_long = %Message{type: 99, payload: :binary.copy(<<0>>, 100_000_000)}
    # Where the send buffer may be raised, the kernel gets to see that it does not know the type.
    assert {:error, reason} = Netlink.execute(path, :route, too_long)
    assert elem(reason, 0) in [:send, :netlink]

    assert {:error, {:netlink, 95, %{}} = reason} =
             Netlink.execute(path, :route, %{dump | type: 999})

    assert Nlns.format_error(reason) =~ "EOPNOTSUPP"
    assert {:ok, [_]} = Netlink.execute(path, :route, dump)
  end

  test "bang_raises_the_kernel_s_words", %{path: path} do
    assert [_] = Netlink.execute!(path, :route, Links.dump())

    error =
      assert_raise Nlns.Error, ~r/EOPNOTSUPP.*Unknown device type/, fn ->
        Netlink.execute!(path, :route, Links.add("x", "nonesuch"))
      end

    assert %{stage: :netlink, errno: 95, reason: :eopnotsupp} = error
    assert_raise Nlns.Error, ~r/No such file/, fn -> Netlink.execute!("/x", 0, Links.dump()) end
  end

  test "wrong_arguments_raise", %{path: path} do
    for {protocol, request, opts} <- [
          {:routes, Links.dump(), []},
          {-1, Links.dump(), []},
          {:route, [], []},
          {:route, %{}, []},
          {:route, %Message{type: 70_000}, []},
          {:route, %Message{type: 18, flags: :dumps}, []},
          {:route, nil, []},
          # The kernel acknowledges these and does nothing.
          {:route, %Message{type: 18, flags: :dump}, []},
          {:route, [Links.dump(), %Message{type: 16, flags: :create, payload: [[], ""]}], []},
          {:route, Links.dump(), [timeout: -1]},
          {:route, Links.dump(), [max_reply: 0]},
          {:route, Links.dump(), :timeout}
        ] do
      assert_raise ArgumentError, fn -> Netlink.execute(path, protocol, request, opts) end
    end

    assert_raise ArgumentError, fn -> Netlink.execute(:path, :route, Links.dump()) end

    assert_raise ArgumentError, ~r/allowed keys are: \[:timeout, :max_reply\]/, fn ->
      Netlink.execute(path, :route, Links.dump(), max_replies: 1)
    end
  end

  test "async_answer_is_one_message", %{path: path} do
    request = Netlink.execute_async(path, :route, Links.dump())
    %{ref: ref} = request
    assert_receive {:nlns, ^ref, {:ok, [%Message{}]}}, within()
    assert {:ok, [_]} = Nlns.await(Netlink.execute_async(path, :route, Links.dump()))

    missing = Netlink.execute_async(path <> "x", :route, Links.dump())
    assert Nlns.await(missing) == {:error, {:open, 2}}
    refused = Netlink.execute_async(path <> "\0", :route, Links.dump())
    assert Nlns.await(refused) == {:error, {:open, 22}}
  end

  test "opens_and_exchanges_are_answered_in_order", %{path: path} do
    for _ <- 1..20 do
      requests =
        for n <- 1..40 do
          case rem(n, 2) do
            0 -> Netlink.execute_async(path, :route, Links.dump())
            1 -> Nlns.open_in_netns_async(path, 0)
          end
        end

      for %{ref: ref} <- requests do
        assert_receive {:nlns, received, {:ok, answer}}, within()
        assert received == ref
        if match?(%Handle{}, answer), do: Handle.close(answer)
      end
    end
  end

  test "request_that_nothing_answers_times_out", %{path: path} do
    sockets = Proc.sockets()
    %{cancelled: cancelled, refused: refused} = Nlns.info()
    silent = Links.silent()
    assert Netlink.execute(path, :fib_lookup, silent, timeout: 30) == @timed_out
    request = Netlink.execute_async(path, :fib_lookup, silent, timeout: 30)
    assert Nlns.await(request, within()) == @timed_out
    assert Netlink.execute(path, :route, Links.dump(), timeout: 0) == @timed_out

    eventually(fn ->
      assert Proc.sockets() == sockets
      # A timeout is no refusal, whichever side sees it first.
      assert %{refused: ^refused} = info = Nlns.info()
      assert info.cancelled == cancelled + 3
    end)
  end

  test "exchange_that_waits_keeps_others_going", %{path: path} do
    requests =
      for _ <- 1..8,
          silent = netns(),
          do: Netlink.execute_async(silent, :fib_lookup, Links.silent())

    for _ <- 1..100, do: assert({:ok, [_]} = Netlink.execute(path, :route, Links.dump()))
    for request <- requests, do: assert(Nlns.cancel(request) == :ok)
    eventually(fn -> assert Enum.all?(Nlns.info().helpers, &(&1.state != :serving)) end)
  end

  test "release_waits_for_the_exchange_before_it", %{path: path} do
    request = Netlink.execute_async(path, :fib_lookup, Links.silent(), timeout: 50)
    assert Nlns.release(path, within()) == :ok
    assert {:message_queue_len, 1} = Process.info(self(), :message_queue_len)
    assert Nlns.await(request) == @timed_out
    assert Proc.threads_in(path) == 0
  end

  test "deleted_name_is_let_go_at_once_with_its_kept_socket", %{path: path} do
    restart(idle_timeout: :infinity)
    peer = Netns.add_veth_to_host(path)
    sockets = Proc.sockets()
    # A helper stays here for ever, and so does its socket.
    pin([path])
    assert {:ok, [_, _]} = Netlink.execute(path, :route, Links.dump())
    assert Proc.sockets() == sockets + 1
    Netns.del(path)
    eventually(fn -> refute Netns.host_link?(peer) end)
    assert Proc.sockets() == sockets
  end

  test "full_mailbox_is_not_searched", %{path: path} do
    # Small answers: a garbage collection, which large ones bring on, goes through the mailbox too.
    execute = fn -> assert {:ok, [_]} = Netlink.execute(path, :route, Links.dump()) end

    time = fn ->
      for(_ <- 1..200, do: fn -> execute.() end |> :timer.tc() |> elem(0)) |> Enum.min()
    end

    empty = time.()

    deep =
      Task.await(
        Task.async(fn ->
          for n <- 1..1_000_000, do: send(self(), n)
          time.()
        end),
        within(60_000)
      )

    # Searched, it takes some 10,000 us.
    assert deep < 10 * empty + 1_000, "#{deep} us, with an empty one #{empty}"
  end
end
