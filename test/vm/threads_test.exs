defmodule Nlns.VM.ThreadsTest do
  # What the pool's threads inherit (promise 3): nothing of the scheduler that happened to start them.
  use Nlns.VM

  setup do
    %{path: netns()}
  end

  test "with bound schedulers the pool's threads may run where the process may", %{path: path} do
    vm [path: path], erl: "+sbt db" do
      # Or this would show nothing.
      assert :erlang.system_info(:scheduler_bind_type) != :unbound
      allowed = fn tid -> status(tid, "Cpus_allowed_list") end
      {bound, _} = first_scheduler()
      assert allowed.(bound) =~ ~r/^\d+$/

      for _ <- 1..3 do
        assert open(path) == :ok
        assert pool_threads() != []

        for tid <- pool_threads(),
            cpus = allowed.(tid),
            do: assert(cpus == allowed.(System.pid()))

        :ok = Application.stop(:nlns)
        :ok = Application.start(:nlns)
      end
    end
  end

  test "a pool that a stranded scheduler starts has all its threads begin at home", %{path: path} do
    other = netns()

    vm [path: path, other: other], erl: "+S 1:1", config: nil do
      # OTP's own option leaves the scheduler where it was when socket(2) fails.
      {:error, _} = :socket.open(16, :raw, 9999, %{netns: path})
      stranded = strays()
      assert stranded == [first_scheduler()]
      Application.put_all_env(nlns: [idle_timeout: :infinity])

      for _ <- 1..3 do
        :ok = Application.ensure_started(:logger)
        :ok = Application.start(:nlns)
        assert poll(fn -> helpers() != [] end)
        assert strays() == stranded
        assert poll(fn -> netns_of(helpers()) == [netns_of(System.pid())] end)
        assert {:ok, fd} = Nlns.open_in_netns(other, 0)
        assert netns_of(other) in netns_of(helpers())
        assert Nlns.close_fd(fd) == :ok
        assert Nlns.release(other) == :ok
        assert netns_of(helpers()) == [netns_of(System.pid())]
        :ok = Application.stop(:nlns)
      end
    end
  end

  test "a scheduler stranded while the pool runs changes nothing for callers", %{path: path} do
    other = netns()
    peer = Netns.add_veth_to_host(other)

    vm [path: path, other: other, peer: peer], erl: "+S 1:1" do
      {:error, _} = :socket.open(16, :raw, 9999, %{netns: path})
      assert strays() == [first_scheduler()]
      callers = hammer([other, path], 64)
      assert poll(fn -> Nlns.info().opened > 1_000 end)
      assert Map.keys(calm(callers)) == [:ok]
      # A new helper, whatever has called for it.
      assert strays() == [first_scheduler()]
      assert Nlns.release(other) == :ok
      assert netns_of(other) not in netns_of(helpers())
      assert Netns.gone_after_delete?(other, peer)
    end
  end

  test "signals go to the VM, not to the helpers", %{path: path} do
    vm =
      start_vm path: path do
        :os.set_signal(:sigusr2, :handle)

        :gen_event.swap_handler(
          :erl_signal_server,
          {:erl_signal_handler, []},
          {Nlns.VM.Signals, self()}
        )

        hammer = hammer([path], 16)
        assert poll(fn -> Nlns.info().opened > 100 end)
        masks = for tid <- pool_threads(), mask = status(tid, "SigBlk"), do: mask
        assert masks != []
        assert Enum.all?(masks, &takes_no_signal?/1)
        IO.puts("0")

        for n <- 1..10 do
          assert_receive :sigusr2, within()
          IO.puts(n)
        end

        assert Map.keys(calm(hammer)) == [:ok]
        assert_all_in_order()
      end

    # One at a time, or the kernel makes one of several.
    Enum.reduce(0..9, vm, fn n, vm -> vm |> await_line("#{n}") |> signal("USR2") end)
    |> await_line("10")
    |> finish()
  end
end
