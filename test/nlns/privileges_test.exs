defmodule Nlns.PrivilegesTest do
  use Nlns.NetnsCase

  alias Nlns.ChildVM

  test "without CAP_SYS_ADMIN the namespace cannot be entered, the VM's own neither" do
    path = netns()

    assert without("sys_admin", """
           for path <- [#{inspect(path)}, "/proc/self/ns/net"], do: Nlns.open_in_netns(path, 0)
           """) == "[error: {:setns, 1}, error: {:setns, 1}]"
  end

  test "other errors are the same without it" do
    assert without("sys_admin", ~s|Nlns.open_in_netns("/not/there", 0)|) == "{:error, {:open, 2}}"
  end

  test "without CAP_SYS_PTRACE the process of somebody who may more cannot be looked at" do
    assert without("sys_ptrace", """
           Nlns.open_in_netns("/proc/#{System.pid()}/ns/net", 0)
           """) == "{:error, {:open, 13}}"
  end

  test "a directory on the way that is closed to the user is a failed open" do
    path = netns()
    dir = tmp_dir()
    File.ln_s!(path, Path.join(dir, "x"))
    File.chmod!(dir, 0)

    assert without("dac_override,-dac_read_search", """
           Nlns.open_in_netns("#{dir}/x", 0)
           """) == "{:error, {:open, 13}}"

    File.chmod!(dir, 0o700)
  end

  test "with CAP_SYS_ADMIN alone a namespace's socket is opened, and is in it" do
    path = netns()
    inside = Netns.add_link(path)
    # No more than to read what belongs to root, and to enter.
    keep = "+sys_admin,+setpcap"
    args = ["--inh-caps=-all", "--bounding-set=-all,#{keep}"]

    assert ChildVM.eval(["setpriv" | args], """
           {:ok, fd} = Nlns.open_in_netns(#{inspect(path)}, 0)
           inside = #{inspect(inside)} in Nlns.Rtnetlink.links(fd)
           {inside, Nlns.close_fd(fd)}
           """) == "{true, :ok}"
  end

  test "when descriptors run out the step that misses one says so, and all goes on after" do
    [pinned, other] = [netns(), netns()]

    assert ChildVM.eval(["prlimit", "--nofile=128"], """
           [pinned, other] = #{inspect([pinned, other])}
           {:ok, fd} = Nlns.open_in_netns(pinned, 0)
           Nlns.close_fd(fd)
           fill = fn fill, path, fds ->
             case Nlns.open_in_netns(path, 0) do
               {:ok, fd} -> fill.(fill, path, [fd | fds])
               error -> {error, fds}
             end
           end
           {at_socket, fds} = fill.(fill, pinned, [])
           at_open = Nlns.open_in_netns(other, 0)
           Enum.each(fds, &Nlns.close_fd/1)
           {again, fds} = {Nlns.open_in_netns(other, 0), length(fds)}
           {at_socket, at_open, elem(again, 0), fds > 50}
           """) == "{{:error, {:socket, 24}}, {:error, {:open, 24}}, :ok, true}"
  end

  defp without(capability, code) do
    ChildVM.eval(["setpriv", "--inh-caps=-all", "--bounding-set=-#{capability}"], code)
  end
end
