defmodule Nlns.VM.RestartTest do
  # `:init.restart/0` ends every application and process and boots again in the same operating system
  # process: the native library's statics, and whatever thread was left, meet the new VM.
  use Nlns.VM

  for state <- [:idle, :busy, :stuck] do
    @tag state: state
    test "after a restart with helpers #{state} the pool serves again", %{state: state} do
      paths = for _ <- 1..3, do: netns()
      peer = Netns.add_veth_to_host(hd(paths))
      {mount, blocked} = BlockedMount.start()

      vm =
        start_vm [state: state, paths: paths, peer: peer, blocked: blocked],
          config: [idle_timeout: :infinity, max_queue: 100_000] do
          Logger.configure(level: :error)

          # The command line, and so this script, is run once per boot.
          case System.get_env("NLNS_TEST_BOOT") do
            nil ->
              System.put_env("NLNS_TEST_BOOT", "2")
              bring(state, paths, blocked)
              :init.restart()
              Process.sleep(:infinity)

            "2" ->
              for path <- paths, do: assert(open(path) == :ok)
              IO.puts("again")
              # Of the first life only a stuck helper may be left, and that not for ever.
              assert poll(fn -> length(helpers()) == length(Nlns.info().helpers) end)
              assert strays() == []
              assert Application.stop(:nlns) == :ok
              assert pool_threads() == []
              assert Netns.gone_after_delete?(hd(paths), peer)
          end
        end

      vm = await_line(vm, "again")
      BlockedMount.stop(mount)
      assert finish(vm) == ""
    end
  end

  test "restarts in a row leave as many threads and descriptors as one" do
    path = netns()

    vm path: path do
      Logger.configure(level: :error)
      boot = System.get_env("NLNS_TEST_BOOT", "0") |> String.to_integer()
      assert open(path) == :ok
      # Helpers come and go, and what the boot before has ended may be there for a moment.
      others = fn -> length(threads()) - length(helpers()) end
      counts = fn -> [others.(), length(File.ls!("/proc/self/fd"))] end

      case System.get_env("NLNS_TEST_COUNTS") do
        nil when boot > 0 ->
          System.put_env("NLNS_TEST_COUNTS", Enum.join(counts.(), " "))

        nil ->
          :ok

        first ->
          first = first |> String.split() |> Enum.map(&String.to_integer/1)

          no_more? = fn ->
            counts.() |> Enum.zip(first) |> Enum.all?(fn {n, most} -> n <= most end)
          end

          assert poll(no_more?)
      end

      if boot < 3 do
        System.put_env("NLNS_TEST_BOOT", "#{boot + 1}")
        :init.restart()
        Process.sleep(:infinity)
      end
    end
  end
end
