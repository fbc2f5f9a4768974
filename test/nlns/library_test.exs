defmodule Nlns.LibraryTest do
  # The library as a file. Where it cannot be loaded, the application does not start, and one sentence says why.
  use ExUnit.Case, async: true

  alias Nlns.Library

  @elf <<0x7F, "ELF", 2, 1, 1, 0::72, 3::little-16>>

  test "a missing library" do
    assert start_without(fn path -> File.rm!(path) end) =~
             ~r"nlns cannot load its native library: \S+/libnlns.so: no such file or directory; build it here: mix "
  end

  test "a library for another machine" do
    other = if System.cmd("uname", ["-m"]) == {"aarch64\n", 0}, do: 62, else: 183

    assert start_without(fn path ->
             <<head::binary-size(18), _machine::16, rest::binary>> = File.read!(path)
             File.write!(path, <<head::binary, other::little-16, rest::binary>>)
           end) =~
             ~r"/libnlns.so is built for (aarch64|x86_64), the Erlang VM is \w+; build it here"
  end

  test "a library that dlopen refuses, in its own words" do
    assert start_without(fn path ->
             File.write!(path, String.replace(File.read!(path), "libc.so.6", "libq.so.6"))
           end) =~
             ~r"native library: Failed to load NIF library.*libq\.so\.6: cannot open.*; build it here"
  end

  test "a file that is no library, and an empty one" do
    assert start_without(&File.write!(&1, "text")) =~ "is built for no machine that is known"
    assert start_without(&File.write!(&1, "")) =~ "is built for no machine that is known"
  end

  test "a library of other functions" do
    assert start_without(fn path ->
             File.write!(
               path,
               String.replace(File.read!(path), "Elixir.Nlns.Native", "Elixir.Nlns.Notive")
             )
           end) =~ ~r"native library: .*Nlns\.Notive.*; build it here"
  end

  @tag netns: true
  test "one that becomes whole is loaded by the next start" do
    assert start_without(fn path -> File.rename!(path, path <> ".away") end, """
           path = Nlns.Library.path()
           File.rename!(path <> ".away", path)
           IO.inspect(Application.ensure_all_started(:nlns), label: "again")
           IO.inspect(Nlns.open_in_netns("/proc/self/ns/net", 0), label: "open")
           """) =~ ~r"again: {:ok, \[:nlns\]}\nopen: {:ok, \d+}"
  end

  test "a newer glibc" do
    path = tmp_file(@elf <> <<62::little-16>>)
    words = "Failed to load NIF library: '/lib/libc.so.6: version `GLIBC_2.38' not found'"

    assert {^words, "build it on a system whose glibc" <> _} =
             Library.explain(path, words, ~c"x86_64-pc-linux-gnu")
  end

  test "an escript" do
    path = Path.join(tmp_file("an archive"), "nlns/priv/native/libnlns.so")
    assert {found, "make a release" <> _} = Library.explain(path, "Failed")
    assert found =~ "is inside an archive"
  end

  # That helpers survive a purge without it is an accident of what they have called, so no crash shows it.
  test "it is marked to stay mapped when its module is purged" do
    {dynamic, 0} = System.cmd("readelf", ["--dynamic", Library.path()])
    assert dynamic =~ "NODELETE"
  end

  # What starting the application says in a VM of its own, whose library was changed before.
  defp start_without(change, code \\ "") do
    app = Path.join(tmp_dir(), "nlns")
    File.mkdir_p!(Path.join(app, "priv/native"))
    File.cp_r!(Application.app_dir(:nlns, "ebin"), Path.join(app, "ebin"))
    library = Path.join(app, "priv/native/libnlns.so")
    File.cp!(Library.path(), library)
    change.(library)

    script =
      "{:error, reason} = Application.ensure_all_started(:nlns)\nIO.inspect(reason)\n" <> code

    {output, 0} =
      System.cmd("elixir", ["-pa", Path.join(app, "ebin"), "-e", script], stderr_to_stdout: true)

    refute output =~ "undef"
    output
  end

  defp tmp_dir do
    dir =
      Path.join(
        System.tmp_dir!(),
        "nlns-library-#{System.pid()}-#{System.unique_integer([:positive])}"
      )

    File.mkdir_p!(dir)
    on_exit(fn -> File.rm_rf!(dir) end)
    dir
  end

  defp tmp_file(content) do
    path = Path.join(tmp_dir(), "file")
    File.write!(path, content)
    path
  end
end
