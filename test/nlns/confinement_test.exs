defmodule Nlns.ConfinementTest do
  use ExUnit.Case, async: true
  doctest Nlns.Confinement

  alias Nlns.Confinement

  test "capabilities and seccomp are read as proc(5) shows them" do
    status =
      "Name:\tbeam.smp\nCapEff:\t0000000000282000\nCapBnd:\t0\nSeccomp:\t2\nSeccomp_filters:\t1\n"

    assert Confinement.capabilities(status, "CapEff") == [:net_raw, :sys_ptrace, :sys_admin]
    assert Confinement.capabilities(status, "CapBnd") == []
    assert Confinement.capabilities("CapEff:\t000001ffffffffff\n", "CapEff") |> length() == 5
    assert Confinement.capabilities("", "CapEff") == []
    assert Confinement.seccomp(status) == 2
    assert Confinement.seccomp("") == nil
  end

  test "only the machine's own user map is initial" do
    assert Confinement.initial_user_namespace?("         0          0 4294967295\n")
    refute Confinement.initial_user_namespace?("         0       1000          1\n")
  end

  test "hidepid is that of the last mount on /proc" do
    mount = fn options -> "22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw#{options}\n" end
    assert Confinement.hidepid("21 1 0:1 / / rw - ext4 /dev/vda rw\n" <> mount.("")) == nil
    assert Confinement.hidepid(mount.(",hidepid=invisible")) == "invisible"
    assert Confinement.hidepid(mount.(",gid=5,hidepid=2")) == "2"
    assert Confinement.hidepid(mount.(",hidepid=off")) == nil
    assert Confinement.hidepid(mount.(",hidepid=2") <> mount.("")) == nil
    assert Confinement.hidepid("") == nil
  end

  test "a label that confines nothing is no module" do
    for label <- ["", "unconfined\n", "docker-default (complain)\n", "_\n"],
        do: assert(Confinement.security_module(label) == nil)

    assert Confinement.security_module("unconfined_u:unconfined_r:unconfined_t:s0\0") == nil
    assert Confinement.security_module("u:r:spc_t:s0") == nil

    assert Confinement.security_module("/usr/bin/my app (enforce)\n") ==
             {:apparmor, "/usr/bin/my app"}

    assert Confinement.security_module("Smacked\n") == {:other, "Smacked"}
  end

  test "here is what the kernel says of this VM" do
    read = Confinement.read()
    {mask, 0} = System.cmd("sh", ["-c", "grep CapEff /proc/$PPID/status | cut -f2"])
    assert read.capabilities == Confinement.capabilities("CapEff:\t" <> mask, "CapEff")
    assert read.capabilities -- read.bounding == []
    assert Map.has_key?(read, :security_module)
  end
end
