defmodule Nlns.Netlink.VMTest do
  # Exchanges under way while the code goes, the application or the VM stops, or a path blocks.
  use Nlns.VM

  setup do
    %{paths: for(_ <- 1..3, do: netns())}
  end

  test "purge_of_the_native_module_crashes_nothing", %{paths: paths} do
    vm paths: paths do
      Logger.configure(level: :none)
      dump = %Nlns.Netlink.Message{type: 18, flags: :dump, payload: <<0::128>>}
      deadline = System.monotonic_time(:millisecond) + 1_500

      ask = fn path ->
        try do
          with {:ok, [_lo]} <- Nlns.Netlink.execute(path, :route, dump), do: :ok
        rescue
          UndefinedFunctionError -> :no_code
          ErlangError -> :no_code
        end
      end

      callers =
        for path <- paths, _ <- 1..16 do
          Task.async(fn ->
            fn -> ask.(path) end
            |> Stream.repeatedly()
            |> Stream.take_while(fn _ -> System.monotonic_time(:millisecond) < deadline end)
            |> Enum.frequencies()
          end)
        end

      waiting = for path <- paths, do: Nlns.Netlink.execute_async(path, :route, dump)
      for _ <- 1..30, do: purge_native() && Process.sleep(10)

      counts =
        callers
        |> Task.await_many(within())
        |> Enum.reduce(&Map.merge(&1, &2, fn _, a, b -> a + b end))

      assert Map.keys(Map.drop(counts, [{:error, {:thread, 5}}, :no_code])) == [:ok]
      for request <- waiting, do: assert({:ok, [_]} = Nlns.await(request))
      assert_all_in_order()
    end
  end

  test "stop_of_the_application_answers_an_exchange_that_waits", %{paths: [path | _]} do
    vm path: path do
      silent = %Nlns.Netlink.Message{type: 0}
      request = Nlns.Netlink.execute_async(path, :fib_lookup, silent, timeout: :infinity)
      assert poll(fn -> Enum.any?(Nlns.info().helpers, &(&1.state == :serving)) end)
      :ok = Application.stop(:nlns)
      assert Nlns.await(request) == {:error, {:thread, 108}}
      dump = %{silent | type: 18, flags: :dump, payload: <<0::128>>}
      assert Nlns.Netlink.execute(path, :route, dump) == {:error, {:thread, 108}}
      assert [{_, {:error, {:thread, 108}}}] = Enum.to_list(Nlns.Netlink.stream([path], 0, dump))
    end
  end

  test "halt_of_the_vm_waits_for_no_exchange", %{paths: paths} do
    vm paths: paths do
      silent = %Nlns.Netlink.Message{type: 0}

      for path <- paths,
          do: Nlns.Netlink.execute_async(path, :fib_lookup, silent, timeout: :infinity)

      assert poll(fn -> Enum.any?(Nlns.info().helpers, &(&1.state == :serving)) end)
    end
  end

  test "path_that_blocks_times_out_alone", %{paths: paths} do
    {mount, blocked} = BlockedMount.start()

    vm =
      start_vm paths: paths, blocked: blocked do
        dump = %Nlns.Netlink.Message{type: 18, flags: :dump, payload: <<0::128>>}

        answers =
          (paths ++ [blocked])
          |> Nlns.Netlink.stream(:route, dump, ordered: false, timeout: within(3_000))
          |> Enum.to_list()

        assert {blocked, {:error, {:thread, 110}}} in answers
        for path <- paths, do: assert({path, {:ok, [_]}} = List.keyfind(answers, path, 0))

        for _ <- 1..50,
            path <- paths,
            do: assert({:ok, [_]} = Nlns.Netlink.execute(path, 0, dump))

        IO.puts("answered")
        assert poll(fn -> Nlns.info().stuck == 0 end)
        assert_all_in_order()
      end

    vm = await_line(vm, "answered")
    BlockedMount.stop(mount)
    finish(vm)
  end
end
