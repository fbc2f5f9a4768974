defmodule Nlns.ArgumentsTest do
  use Nlns.NetnsCase
  @moduletag netns: false

  # Not written as literals, so that neither the compiler nor dialyzer knows better.
  defp bad(term), do: term |> :erlang.term_to_binary() |> :erlang.binary_to_term()

  @not_paths [nil, :path, [0x20AC], 7, {:pid, 1}, <<1::1>>, ["/run/netns/", :x], [-1]]
  @not_ints [-2_147_483_649, 2_147_483_648, 1.0, nil, "0", 1_000_000_000_000_000_000_000]
  @not_timeouts [-1, 4_294_967_296, 1.5, nil, :never]

  test "a path of another type raises" do
    for path <- @not_paths, function <- [:open_in_netns, :open_in_netns_async] do
      message = "expected a path as a binary or iolist, got: #{inspect(path)}"
      assert_raise ArgumentError, message, fn -> apply(Nlns, function, [bad(path), 0]) end
    end

    message = "expected a path, {:pid, pid} or {:name, name} for the namespace, got: :path"
    assert_raise ArgumentError, message, fn -> Nlns.release(bad(:path)) end
  end

  test "a protocol out of range raises" do
    for protocol <- [-1 | @not_ints], function <- [:open_in_netns, :open_in_netns_async] do
      message = "expected a protocol from 0 to 2147483647, got: #{inspect(protocol)}"
      assert_raise ArgumentError, message, fn -> apply(Nlns, function, ["/x", bad(protocol)]) end
    end
  end

  test "a timeout that receive would not take raises, and nothing is asked for before" do
    request = Nlns.open_in_netns_async("/not/there", 0)
    %{failed: failed, waiting: waiting} = Nlns.info()

    for timeout <- @not_timeouts do
      message = "expected a timeout of 0 to 4294967295 ms or :infinity, got: #{inspect(timeout)}"

      for call <- [
            fn -> Nlns.open_in_netns("/x", 0, bad(timeout)) end,
            fn -> Nlns.await(request, bad(timeout)) end,
            fn -> Nlns.open_socket("/x", :inet, :dgram, :udp, timeout: bad(timeout)) end,
            fn -> Nlns.open_fd("/x", :inet, :dgram, :udp, timeout: bad(timeout)) end,
            fn -> Nlns.open_async("/x", :inet, :dgram, :udp, timeout: bad(timeout)) end,
            fn -> Nlns.release("/x", bad(timeout)) end
          ] do
        assert_raise ArgumentError, message, call
      end
    end

    assert Nlns.await(request) == {:error, {:open, 2}}
    assert Nlns.info().failed + Nlns.info().waiting <= failed + waiting + 1
  end

  test "a descriptor of another type raises" do
    for fd <- @not_ints do
      message = "expected a descriptor from -2147483648 to 2147483647, got: #{inspect(fd)}"
      assert_raise ArgumentError, message, fn -> Nlns.close_fd(bad(fd)) end
    end

    for socket <- [nil, "0", 1.0, {:"$socket", make_ref()}, {:socket, make_ref()}] do
      message = "expected a descriptor or a :socket, got: #{inspect(socket)}"
      assert_raise ArgumentError, message, fn -> Nlns.bind_netlink(bad(socket), 0) end
    end
  end

  @tag netns: true
  test "arguments of the replaced library are accepted" do
    path = netns()
    charlist = String.to_charlist(path)
    [first | rest] = charlist

    for path <- [charlist, [path], [first, [rest]], ["", [[path]], []]] do
      assert {:ok, fd} = Nlns.open_in_netns(path, 0)
      Nlns.close_fd(fd)
      path |> Nlns.open_in_netns_async(0) |> handle() |> Handle.close()
    end

    # What a failed call left in a descriptor's place.
    for fd <- [-1, -2, -2_147_483_648] do
      assert Nlns.close_fd(fd) == :ok
      assert Nlns.bind_netlink(fd, 0) == {:error, 9}
    end
  end

  test "an unknown option raises and is named" do
    calls = [:open_socket, :open_fd, :open_async, :open_socket!, :open_fd!]

    for function <- calls,
        {opts, message} <- [
          {[timout: 5], ~r/^unknown keys \[:timout\].* allowed keys are: \[:timeout\]$/},
          {[timeout: 5, retries: 2], ~r/^unknown keys \[:retries\]/},
          {[:timeout], "expected a keyword list of options, got: [:timeout]"},
          {[{:timeout, 5}, 7], "expected a keyword list of options, got: [{:timeout, 5}, 7]"},
          {[{:timeout, 5} | 7], "expected a keyword list of options, got: [{:timeout, 5} | 7]"},
          {5_000, "expected a keyword list of options, got: 5000"},
          {%{timeout: 5}, "expected a keyword list of options, got: %{timeout: 5}"}
        ] do
      args = ["/x", :inet, :dgram, :udp, bad(opts)]
      assert_raise ArgumentError, message, fn -> apply(Nlns, function, args) end
    end
  end

  test "groups out of range raise" do
    for groups <- [-1, 4_294_967_296, :link, nil] do
      message = "expected groups from 0 to 0xFFFFFFFF, got: #{inspect(groups)}"
      assert_raise ArgumentError, message, fn -> Nlns.bind_netlink(0, bad(groups)) end
    end
  end

  test "only requests can be awaited or cancelled" do
    for function <- [:await, :cancel], term <- [make_ref(), nil, %{ref: make_ref()}] do
      message = "expected a %Nlns.Request{}, got: #{inspect(term)}"
      assert_raise ArgumentError, message, fn -> apply(Nlns, function, [bad(term)]) end
    end
  end

  test "only handles are arguments of Nlns.Handle" do
    for function <- [:to_fd, :to_socket, :close], term <- [nil, 7, make_ref()] do
      message = "expected a handle of this node, got: #{inspect(term)}"
      assert_raise ArgumentError, message, fn -> apply(Nlns.Handle, function, [bad(term)]) end
    end
  end

  test "only reasons can be formatted" do
    for term <- [nil, :enoent, {:open, :enoent}, {:close, 2}, {:open, 2, 3}] do
      message = "expected {stage, errno}, got: #{inspect(term)}"
      assert_raise ArgumentError, message, fn -> Nlns.format_error(bad(term)) end
    end
  end
end
