defmodule NlnsNative.TargetTest do
  use ExUnit.Case, async: true

  alias NlnsNative.Target

  @vm "x86_64-pc-linux-gnu"
  @arm "aarch64-unknown-linux-gnu"
  @arm_linker "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER"

  test "without variables it is the VM's, and cargo is told nothing" do
    for {vm, triple} <- [
          {"x86_64-pc-linux-gnu", "x86_64-unknown-linux-gnu"},
          {"x86_64-alpine-linux-musl", "x86_64-unknown-linux-musl"},
          {"aarch64-redhat-linux-gnu", "aarch64-unknown-linux-gnu"},
          {"armv7l-unknown-linux-gnueabihf", "armv7-unknown-linux-gnueabihf"},
          {"riscv64-unknown-linux-gnu", "riscv64gc-unknown-linux-gnu"},
          {"x86_64-linux-gnu", "x86_64-unknown-linux-gnu"},
          {"tilegx", "tilegx"}
        ] do
      assert Target.wanted!(%{}, vm) == %Target{triple: triple, env: []}
      assert Target.wanted!(%{"TARGET_ARCH" => "", "CC" => "clang"}, vm).env == []
    end
  end

  test "Nerves' variables choose target and linker" do
    nerves = %{
      "TARGET_ARCH" => "aarch64",
      "TARGET_OS" => "linux",
      "TARGET_ABI" => "gnu",
      "TARGET_CPU" => "cortex_a72",
      "CROSSCOMPILE" => "/opt/nerves/bin/aarch64-nerves-linux-gnu",
      "CC" => "/opt/nerves/bin/aarch64-nerves-linux-gnu-gcc"
    }

    assert Target.wanted!(nerves, @vm) ==
             %Target{
               triple: @arm,
               env: [{"CARGO_BUILD_TARGET", @arm}, {@arm_linker, nerves["CC"]}]
             }

    without_cc = Map.delete(nerves, "CC")
    assert {@arm_linker, nerves["CC"]} in Target.wanted!(without_cc, @vm).env

    told = Map.put(nerves, @arm_linker, "mine")
    assert Target.wanted!(told, @vm).env == [{"CARGO_BUILD_TARGET", @arm}]
  end

  test "other devices of Nerves" do
    for {arch, abi, triple} <- [
          {"arm", "gnueabihf", "arm-unknown-linux-gnueabihf"},
          {"riscv64", "gnu", "riscv64gc-unknown-linux-gnu"},
          {"x86_64", "musl", "x86_64-unknown-linux-musl"}
        ] do
      variables = %{"TARGET_ARCH" => arch, "TARGET_ABI" => abi}
      assert Target.wanted!(variables, @vm).triple == triple
      assert {"CARGO_BUILD_TARGET", triple} in Target.wanted!(variables, @vm).env
    end
  end

  test "a part that is not set is this machine's" do
    assert Target.wanted!(%{"TARGET_ARCH" => "aarch64"}, @vm).triple == @arm
    assert Target.wanted!(%{"TARGET_ABI" => "musl"}, @vm).triple == "x86_64-unknown-linux-musl"
    # All of them this machine's: nothing is crossed.
    assert Target.wanted!(%{"TARGET_ARCH" => "amd64", "CC" => "clang"}, @vm).env == []
  end

  test "CARGO_BUILD_TARGET goes first and is left to cargo" do
    assert Target.wanted!(%{"CARGO_BUILD_TARGET" => @arm, "CC" => "clang"}, @vm) == %Target{
             triple: @arm,
             env: []
           }

    both = %{
      "CARGO_BUILD_TARGET" => "armv7-unknown-linux-gnueabihf",
      "TARGET_ARCH" => "arm",
      "CC" => "arm-gcc"
    }

    assert %Target{triple: "armv7-unknown-linux-gnueabihf", env: env} = Target.wanted!(both, @vm)
    assert env == [{"CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER", "arm-gcc"}]
  end

  test "musl is made a shared library also where flags take the place of the configuration" do
    shared = "-C target-feature=-crt-static"

    for variables <- [
          %{"CARGO_BUILD_TARGET" => "x86_64-unknown-linux-musl"},
          %{"TARGET_ABI" => "musl"}
        ] do
      env = fn more -> Map.new(Target.wanted!(Map.merge(variables, more), @vm).env) end
      refute Map.has_key?(env.(%{}), "RUSTFLAGS")
      assert env.(%{"RUSTFLAGS" => "-g"})["RUSTFLAGS"] == "-g " <> shared
      # Set to nothing it counts, too.
      assert env.(%{"RUSTFLAGS" => ""})["RUSTFLAGS"] == " " <> shared

      encoded = %{"RUSTFLAGS" => "-g", "CARGO_ENCODED_RUSTFLAGS" => "-g"}
      assert env.(encoded)["CARGO_ENCODED_RUSTFLAGS"] == "-g\x1f-C\x1ftarget-feature=-crt-static"
      refute Map.has_key?(env.(encoded), "RUSTFLAGS")
    end

    assert Target.wanted!(%{"RUSTFLAGS" => "-g"}, "x86_64-alpine-linux-musl").env == [
             {"RUSTFLAGS", "-g " <> shared}
           ]

    assert Target.wanted!(%{"RUSTFLAGS" => "-g"}, @vm).env == []
  end

  test "contradictions and incomplete targets are refused" do
    assert_raise Mix.Error,
                 ~r/CARGO_BUILD_TARGET is x86_64.* say aarch64-unknown-linux-gnu; unset/,
                 fn ->
                   Target.wanted!(
                     %{
                       "CARGO_BUILD_TARGET" => "x86_64-unknown-linux-gnu",
                       "TARGET_ARCH" => "aarch64"
                     },
                     @vm
                   )
                 end

    assert_raise Mix.Error, ~r/CROSSCOMPILE is set.* set CARGO_BUILD_TARGET/, fn ->
      Target.wanted!(%{"CROSSCOMPILE" => "aarch64-linux-gnu"}, @vm)
    end

    assert_raise Mix.Error, ~r/Linux only, and TARGET_OS is freebsd/, fn ->
      Target.wanted!(%{"TARGET_OS" => "freebsd"}, @vm)
    end
  end
end
