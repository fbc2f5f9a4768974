defmodule NlnsNative.CargoTest do
  use ExUnit.Case, async: true

  alias NlnsNative.Cargo

  # As cargo writes it, for a project in a directory called: we"ird \ p'ath, a line break, dir.
  @path ~S(/tmp/we\"ird \\ p'ath\ndir/target/release/libnlns)
  @artifact ~s({"reason":"compiler-artifact","package_id":"path+file:///x#0.1.0","target":{"name":"nlns"},) <>
              ~s("filenames":["#{@path}.so","#{@path}.rlib"],"executable":null,"fresh":false})

  test "the path of the library with quotes, backslashes and a line break" do
    messages = ~s({"reason":"build-script-executed"}\n#{@artifact}\n{"reason":"build-finished"}\n)
    assert Cargo.library(messages) == "/tmp/we\"ird \\ p'ath\ndir/target/release/libnlns.so"
  end

  test "lines of a wrapper among the messages" do
    assert Cargo.library("{building}\n#{@artifact}\ndone in 1 s\n") =~ ~r"/libnlns.so$"
  end

  test "a path in another message is not the library's" do
    assert Cargo.library(~s({"reason":"compiler-message","filenames":["/x/libnlns.so"]})) == nil
    assert Cargo.library(~s({"reason":"compiler-artifact","filenames":["/x/libother.so"]})) == nil
  end

  test "the version that cargo has" do
    assert Cargo.version("cargo 1.85.1 (d73d2caf9 2024-12-31)\n") == "1.85.1"
    assert Cargo.version("cargo 1.97.0-nightly (0000000 2026-05-01)\n") == "1.97.0"
    assert Cargo.version("using sccache\ncargo 1.95.0 (f2d3ce0bd 2026-03-21)\n") == "1.95.0"
    assert Cargo.version("error: no toolchain\n") == nil
  end
end
