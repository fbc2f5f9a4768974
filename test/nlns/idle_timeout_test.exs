defmodule Nlns.IdleTimeoutTest do
  use Nlns.NetnsCase

  setup do
    path = netns()
    %{path: path, host: Netns.add_veth_to_host(path)}
  end

  test "with idle_timeout 0 a helper leaves when it has nothing more to do", %{path: path} do
    restart(idle_timeout: 0)
    cookie_at(path)
    eventually(fn -> assert Proc.threads_outside() == [] end)
  end

  test "with idle_timeout 200 it stays that long, and not much longer", %{path: path} do
    restart(idle_timeout: 200)
    asked = System.monotonic_time(:millisecond)
    cookie_at(path)
    # At once, were it not there.
    eventually(fn -> assert Proc.threads_outside() == [] end)
    assert System.monotonic_time(:millisecond) - asked >= 199
  end

  test "the idle timeout counts from the last use", %{path: path} do
    restart(idle_timeout: 400)

    # On a busy machine two uses may be further apart.
    assert Enum.any?(1..5, fn _ ->
             cookie_at(path)
             before = Nlns.info().entered
             always(fn -> cookie_at(path) end, 800)
             Nlns.info().entered == before
           end)
  end

  test "with idle_timeout :infinity it stays", %{path: path} do
    restart(idle_timeout: :infinity)
    pin([path])
    always(fn -> assert Proc.threads_in(path) == 1 end, 300)
    assert Nlns.release(path) == :ok
  end

  test "a namespace is gone with its name, also when a helper would stay in it for ever",
       %{path: path, host: host} do
    restart(idle_timeout: :infinity)
    cookie_at(path)
    Netns.del(path)
    eventually(fn -> assert Proc.threads_outside() == [] end)
    eventually(fn -> refute Netns.host_link?(host) end)
  end

  test "of many namespaces that are deleted none is held", %{path: path} do
    restart(idle_timeout: :infinity)
    paths = [path | for(_ <- 1..20, do: netns())]
    pin(paths)
    assert length(Proc.threads_outside()) == 21

    for {path, left} <- Enum.with_index(Enum.reverse(paths)) do
      Netns.del(path)
      eventually(fn -> assert length(Proc.threads_outside()) == 20 - left end)
    end
  end

  test "a bind mount's helper leaves a deleted name when its idle timeout ends",
       %{path: path, host: host} do
    restart(idle_timeout: 200)
    mounted = Path.join(tmp_dir(), "mounted")
    File.touch!(mounted)
    Netns.run!("mount", ["--bind", path, mounted])
    cookie_at(mounted)
    Netns.run!("umount", ["-l", mounted])
    Netns.del(path)
    eventually(fn -> assert Proc.threads_outside() == [] end)
    eventually(fn -> refute Netns.host_link?(host) end)
  end

  test "an open socket holds the namespace, and nothing of nlns does after it", %{
    path: path,
    host: host
  } do
    {:ok, fd} = Nlns.open_in_netns(path, 0)
    Netns.del(path)
    eventually(fn -> assert Proc.threads_outside() == [] end)
    assert Netns.host_link?(host)
    assert "lo" in Rtnetlink.links(fd)
    Nlns.close_fd(fd)
    eventually(fn -> refute Netns.host_link?(host) end)
  end

  test "helpers in no namespace end after a second, all but one" do
    restart(idle_timeout: :infinity)
    paths = for _ <- 1..8, do: netns()
    pin(paths)
    assert length(Proc.helper_threads()) >= 8
    Enum.each(paths, &Nlns.release/1)
    eventually(fn -> assert [_] = Proc.helper_threads() end)
    eventually(fn -> assert [%{state: :parked}] = Nlns.info().helpers end)
  end
end
