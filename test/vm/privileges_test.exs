defmodule Nlns.VM.PrivilegesTest do
  # What a user needs (promise 11), by VMs that run as one who has it, or not.
  use Nlns.VM

  # Of a user namespace with a single user in it nobody can become another.
  @other_users File.read!("/proc/self/uid_map") =~ ~r/4294967295/
  @nobody ~w(setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all)

  @no_other_users if(not @other_users,
                    do: "to be another user it takes root outside of user namespaces"
                  )

  describe "a plain user" do
    @describetag skip: @no_other_users

    test "is told that CAP_SYS_ADMIN is missing to enter" do
      vm [path: netns()], wrap: @nobody do
        for _ <- 1..10 do
          assert {:error, {:setns, 1} = reason} = Nlns.open_in_netns(path, 0)
          assert Nlns.format_error(reason) =~ "CAP_SYS_ADMIN"
        end

        # Going nowhere is no doubt about where one is.
        assert %{died: 0, entered: 0} = Nlns.info()
        assert Nlns.release(path) == :ok
        assert_all_in_order()
      end
    end

    test "is told that CAP_SYS_PTRACE is missing to look at another user's process" do
      vm [path: "/proc/#{System.pid()}/ns/net"], wrap: @nobody do
        assert {:error, {:open, 13} = reason} = Nlns.open_in_netns(path, 0)
        assert Nlns.format_error(reason) =~ "CAP_SYS_PTRACE"
        assert {:error, {:setns, 1}} = Nlns.open_in_netns("/proc/self/ns/net", 0)
        assert_all_in_order()
      end
    end

    test "can do all of it in namespaces of their own" do
      vm [], wrap: @nobody ++ ~w(unshare -Urnm), config: [idle_timeout: :infinity] do
        assert_all_works()
      end
    end
  end

  test "without any capability, be it as root, nothing can be entered" do
    none = ~w(setpriv --inh-caps=-all --bounding-set=-all)

    vm [path: netns(), process: "/proc/#{System.pid()}/ns/net"], wrap: none do
      assert {:error, {:setns, 1}} = Nlns.open_in_netns(path, 0)
      assert {:error, {:open, 13}} = Nlns.open_in_netns(process, 0)
      assert_all_in_order()
    end
  end

  test "in a user, network and mount namespace of one's own all of it works" do
    vm [], wrap: ~w(unshare -Urnm), config: [idle_timeout: :infinity] do
      assert_all_works()
    end
  end

  # Without -n: the VM's own network namespace belongs to the outer user namespace.
  test "a helper that may enter a namespace but not go back dies, and all answers are right" do
    vm [], wrap: ~w(unshare -Urm), config: [idle_timeout: 20] do
      paths = for _ <- 1..4, do: process()
      # As a fresh thread would be answered.
      home = "/proc/self/ns/net"
      assert {:error, {:setns, 1}} = Nlns.open_in_netns(home, 0)
      callers = hammer(paths, 32)

      for _ <- 1..50 do
        assert {:error, {:setns, 1}} = Nlns.open_in_netns(home, 0)
        assert {:error, {:open, 2}} = Nlns.open_in_netns("/not/there", 0)
        assert strays() == []
      end

      assert Map.keys(calm(callers)) == [:ok]
      assert Nlns.release(hd(paths)) == :ok
      assert netns_of(hd(paths)) not in netns_of(helpers())
      # When their idle timeout ends, the rest die too.
      assert poll(fn -> netns_of(helpers()) -- [netns_of(System.pid())] == [] end)
      for path <- paths, do: assert(open(path) == :ok)
      assert_all_in_order()
      assert Application.stop(:nlns) == :ok
      assert pool_threads() == []
    end
  end
end
