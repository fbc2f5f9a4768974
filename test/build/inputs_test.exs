defmodule NlnsNative.InputsTest do
  # What makes the library anew: everything that changes what cargo builds, and nothing else.
  use ExUnit.Case, async: true

  alias NlnsNative.{Inputs, Target}

  setup do
    top =
      Path.join(System.tmp_dir!(), "nlns-inputs-#{System.unique_integer([:positive])} [a-c]{x}*")

    root = Path.join(top, "deps/nlns")
    home = Path.join(top, "cargo")
    on_exit(fn -> File.rm_rf!(top) end)

    for path <- [
          "Cargo.toml",
          "Cargo.lock",
          "native/nlns/src/lib.rs",
          "native/nlns_core/src/a/b.rs"
        ],
        do: write(Path.join(root, path), path)

    %{top: top, root: root, home: home, env: %{"CARGO_HOME" => home}}
  end

  test "the same twice, and for a copy elsewhere", %{root: root, env: env} do
    first = digest(root, env)
    assert digest(root, env) == first
    File.touch!(Path.join(root, "Cargo.toml"), {{2001, 1, 1}, {0, 0, 0}})
    assert digest(root, env) == first
    File.cp_r!(root, root <> "2")
    assert digest(root <> "2", env) == first
  end

  test "a source that changes, comes or goes", %{root: root, env: env} do
    changes(root, env, fn -> write(Path.join(root, "native/nlns_core/src/a/b.rs"), "other") end)
    changes(root, env, fn -> write(Path.join(root, "native/nlns_core/src/c.rs"), "") end)
    changes(root, env, fn -> File.rm!(Path.join(root, "native/nlns_core/src/c.rs")) end)
    stays(root, env, fn -> write(Path.join(root, "native/nlns_core/tests.md"), "") end)
  end

  test "cargo's configuration here, above and in CARGO_HOME", %{
    top: top,
    root: root,
    home: home,
    env: env
  } do
    for place <- [root, Path.dirname(root), top], file <- ~w(config config.toml included.toml) do
      changes(root, env, fn -> write(Path.join([place, ".cargo", file]), "[build]") end)
      changes(root, env, fn -> write(Path.join([place, ".cargo", file]), "[build] # other") end)
    end

    for file <- ~w(config config.toml),
        do: changes(root, env, fn -> write(Path.join(home, file), "[build]") end)

    changes(root, env, fn -> File.rm!(Path.join(top, ".cargo/config.toml")) end)
    stays(root, env, fn -> write(Path.join(home, "credentials.toml"), "token") end)
  end

  test "the toolchain that rustup is told", %{top: top, root: root, env: env} do
    changes(root, env, fn -> write(Path.join(top, "rust-toolchain.toml"), "[toolchain]") end)
    changes(root, env, fn -> write(Path.join(root, "rust-toolchain"), "nightly") end)
    changes(root, env, Map.put(env, "RUSTUP_TOOLCHAIN", "nightly"))
  end

  test "variables that change what cargo builds", %{root: root, env: env} do
    for name <-
          ~w(RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTC_BOOTSTRAP
          CARGO_BUILD_TARGET CARGO_BUILD_RUSTFLAGS CARGO_PROFILE_RELEASE_LTO CARGO_UNSTABLE_BUILD_STD
          CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER) do
      changes(root, env, Map.put(env, name, "x"))
    end
  end

  test "variables that change where, and how fast", %{root: root, env: env} do
    for name <-
          ~w(CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR CARGO_BUILD_JOBS CARGO_NET_OFFLINE CARGO_TERM_COLOR
          RUST_BACKTRACE PATH HOME MIX_ENV) do
      stays(root, env, Map.put(env, name, "x"))
    end
  end

  test "another target, or another linker for it", %{root: root, env: env} do
    target = %Target{triple: "aarch64-unknown-linux-gnu", env: [{"LINKER", "a"}]}

    digests =
      for target <- [target, %{target | env: []}, %{target | triple: "x"}],
          do: Inputs.digest(root, target, env)

    assert digests == Enum.uniq(digests)
  end

  defp digest(root, env),
    do: Inputs.digest(root, %Target{triple: "x86_64-unknown-linux-gnu"}, env)

  defp changes(root, env, change), do: refute(before_and_after(root, env, change))
  defp stays(root, env, change), do: assert(before_and_after(root, env, change))

  defp before_and_after(root, env, change) do
    before = digest(root, env)
    now = if is_map(change), do: change, else: change.() && env
    before == digest(root, now)
  end

  defp write(path, content) do
    File.mkdir_p!(Path.dirname(path))
    File.write!(path, content)
  end
end
