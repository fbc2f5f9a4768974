defmodule NlnsNative.PrecompiledTest do
  use ExUnit.Case, async: true

  alias NlnsNative.Precompiled

  @library <<0x7F, "ELF, or so">>
  @archive "libnlns-v1.2.3-nif-2.15-x86_64-unknown-linux-gnu.so.tar.gz"

  setup do
    top = Path.join(System.tmp_dir!(), "nlns-precompiled-#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm_rf!(top) end)
    root = Path.join(top, "nlns")
    directory = Path.join(top, "built")
    File.mkdir_p!(root)

    wanted = %{
      version: "1.2.3",
      nif_version: "2.15",
      triple: "x86_64-unknown-linux-gnu",
      root: root
    }

    %{
      root: root,
      directory: directory,
      wanted: wanted,
      archive: Precompiled.pack!(@library, directory, wanted)
    }
  end

  test "a packed library is fetched by name and by directory",
       %{archive: archive} = context do
    assert Path.basename(archive) == @archive
    assert Precompiled.fetch(archive, context.wanted) == {:ok, @library}
    assert Precompiled.fetch(context.directory, context.wanted) == {:ok, @library}
  end

  # What RustlerPrecompiled's readers would do with them.
  test "archive and hashes are in RustlerPrecompiled's form", %{archive: archive} = context do
    assert {:ok, [{name, @library}]} =
             :erl_tar.extract(to_charlist(archive), [:compressed, :memory])

    assert to_string(name) <> ".tar.gz" == @archive

    other =
      Precompiled.pack!("other", context.directory, %{
        context.wanted
        | triple: "aarch64-unknown-linux-gnu"
      })

    {hashes, _} = Code.eval_file(Path.join(context.directory, "checksum-Elixir.Nlns.Native.exs"))
    assert Map.keys(hashes) == Enum.sort([Path.basename(other), @archive])

    assert hashes[@archive] ==
             "sha256:" <> Base.encode16(:crypto.hash(:sha256, File.read!(archive)), case: :lower)
  end

  test "another version, target or NIF version, by the name", %{wanted: wanted, archive: archive} do
    assert {:error, "it is nlns 1.2.3's, and this is nlns 2.0.0"} =
             Precompiled.fetch(archive, %{wanted | version: "2.0.0"})

    assert {:error,
            "it is for x86_64-unknown-linux-gnu, and the target is aarch64-unknown-linux-gnu"} =
             Precompiled.fetch(archive, %{wanted | triple: "aarch64-unknown-linux-gnu"})

    assert {:error, "it is for NIF version 2.15, and this nlns is for 2.17"} =
             Precompiled.fetch(archive, %{wanted | nif_version: "2.17"})

    assert {:error, "its name is not of the form of libnlns-v1.2.3-" <> _} =
             Precompiled.fetch("/x/libnlns.so", wanted)
  end

  test "a variant's name is understood", %{wanted: wanted, archive: archive, directory: directory} do
    variant = String.replace(archive, ".so.tar.gz", "--old_glibc.so.tar.gz")
    File.cp!(archive, variant)
    list(directory, %{Path.basename(variant) => hash(variant)})
    assert {:error, "libnlns-" <> _} = Precompiled.fetch(variant, wanted)
  end

  test "one that is not there", %{wanted: wanted, root: root, archive: archive} do
    assert Precompiled.fetch(root, wanted) ==
             {:error, "#{root}/#{@archive}: no such file or directory"}

    File.rm!(archive)
    assert Precompiled.fetch(archive, wanted) == {:error, "#{archive}: no such file or directory"}
  end

  test "a changed archive, or one without a hash", %{
    wanted: wanted,
    archive: archive,
    directory: directory
  } do
    File.write!(archive, "x", [:append])
    assert {:error, "its hash is not the one in" <> _} = Precompiled.fetch(archive, wanted)
    File.rm!(Path.join(directory, "checksum-Elixir.Nlns.Native.exs"))
    assert {:error, "there is no hash of it in" <> _} = Precompiled.fetch(archive, wanted)
  end

  test "the package's own hash goes before the archive's", %{
    root: root,
    wanted: wanted,
    archive: archive
  } do
    list(root, %{@archive => "sha256:0000"})
    assert {:error, "its hash is not the one in" <> _} = Precompiled.fetch(archive, wanted)
    list(root, %{@archive => hash(archive)})
    assert Precompiled.fetch(archive, wanted) == {:ok, @library}
  end

  test "a list of hashes is read and not run", %{
    directory: directory,
    wanted: wanted,
    archive: archive
  } do
    path = Path.join(directory, "checksum-Elixir.Nlns.Native.exs")

    File.write!(
      path,
      "%{\"#{@archive}\" => (File.touch!(\"#{directory}/run\"); \"#{hash(archive)}\")}"
    )

    assert {:error, "there is no hash of it" <> _} = Precompiled.fetch(archive, wanted)
    refute File.exists?(Path.join(directory, "run"))
  end

  test "an archive of something else", %{directory: directory, wanted: wanted, archive: archive} do
    for members <- [[{~c"other.so", "x"}], [{~c"a", "x"}, {~c"b", "y"}], []] do
      :ok = :erl_tar.create(to_charlist(archive), members, [:compressed])
      list(directory, %{@archive => hash(archive)})
      assert {:error, _} = Precompiled.fetch(archive, wanted)
    end

    File.write!(archive, "no archive")
    list(directory, %{@archive => hash(archive)})
    assert Precompiled.fetch(archive, wanted) == {:error, "it is no archive of one file"}
  end

  defp list(directory, hashes),
    do: File.write!(Path.join(directory, "checksum-Elixir.Nlns.Native.exs"), inspect(hashes))

  defp hash(path),
    do: "sha256:" <> Base.encode16(:crypto.hash(:sha256, File.read!(path)), case: :lower)
end
