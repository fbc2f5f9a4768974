defmodule Nlns.VM.RecycledPidTest do
  # A container ends while its socket is asked for, and another gets its number. In a process namespace
  # of their own, where nobody else takes numbers and the next one can be chosen (proc(5), ns_last_pid).
  use Nlns.VM

  @mount Path.join(__DIR__, "../support/vm/blocked_mount.sh")

  test "a process that got the number of the one asked for is not taken for it" do
    vm [mount: @mount],
      wrap: ~w(unshare --pid --fork --mount-proc --kill-child),
      config: [max_helpers: 1] do
      start = fn command ->
        port = Port.open({:spawn, command}, [:binary])
        {:os_pid, pid} = Port.info(port, :os_pid)
        {port, pid}
      end

      container = fn ->
        {port, _} = container = start.("unshare --net cat")
        # It echoes, so it is inside.
        Port.command(port, "x")
        assert_receive {^port, {:data, "x"}}, within()
        container
      end

      # cat(1) ends with its input.
      stop = fn {port, pid} ->
        Port.close(port)
        assert poll(fn -> not File.exists?("/proc/#{pid}") end)
      end

      # The one helper there is waits, and with it what is asked for meanwhile, until it is let go.
      block = fn ->
        dir = Path.expand("blocked")
        File.mkdir_p!(dir)

        port =
          Port.open({:spawn_executable, "/bin/sh"}, [:binary, :exit_status, args: [mount, dir]])

        assert_receive {^port, {:data, "ready\n"}}, within()
        spawn(fn -> open(dir <> "/name") end)

        assert poll(fn ->
                 match?([%{state: state}] when state in [:serving, :stuck], Nlns.info().helpers)
               end)

        fn ->
          Port.command(port, "\n")
          assert_receive {^port, {:exit_status, 0}}, within()
        end
      end

      attempt = fn ->
        {_, pid} = first = container.()
        let_go = block.()
        request = Nlns.open_async({:pid, pid}, :netlink, :raw, 0)
        stop.(first)
        File.write!("/proc/sys/kernel/ns_last_pid", "#{pid - 1}")

        # Not one with a namespace of its own, which takes longer to start than a request may wait.
        assert {_, ^pid} = second = start.("cat")
        let_go.()
        answer = Nlns.await(request)
        # The path leads to the other one, for who means that.
        {:ok, fd} = Nlns.open_fd({:pid, pid}, :netlink, :raw, 0)
        Nlns.close_fd(fd)
        stop.(second)
        answer
      end

      # A second of waiting is too long, and refused. How many tries that takes is up to the machine.
      answers =
        Stream.repeatedly(attempt)
        |> Stream.reject(&(&1 == {:error, {:thread, 11}}))
        |> Enum.take(3)

      assert Enum.uniq(answers) == [error: {:open, 2}]
      assert_all_in_order()
    end
  end
end
