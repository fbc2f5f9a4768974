defmodule Nlns.Library do
  @moduledoc false
  # Loads the native half, and explains a failure.

  alias Nlns.Native

  # The e_machine of ELF headers, elf.h, for the processors in `:erlang.system_info/1`'s words.
  @machines %{62 => "x86_64", 183 => "aarch64", 243 => "riscv64", 3 => "i686", 40 => "arm"}

  @archived {"nlns is inside an archive, and a library can be loaded from a file only",
             "make a release instead of an escript: mix release"}

  @rebuild "build it here: mix deps.compile nlns --force (in nlns itself: mix compile --force)"

  @doc "Returns what is wrong and what to do about it, where the library cannot be loaded."
  @spec load() :: :ok | {:error, {String.t(), String.t()}}
  def load do
    case Native.load() do
      :ok -> :ok
      # It is loaded.
      {:error, {:reload, _words}} -> :ok
      {:error, {:bad_name, _words}} -> {:error, @archived}
      {:error, {_kind, words}} -> {:error, explain(path(), to_string(words))}
    end
  end

  @spec path() :: Path.t()
  def path, do: Application.app_dir(:nlns, "priv/native/libnlns.so")

  # dlopen(3) says of a library for another machine that it does not exist.
  @doc false
  @spec explain(Path.t(), String.t(), charlist()) :: {String.t(), String.t()}
  def explain(path, words, architecture \\ :erlang.system_info(:system_architecture)) do
    ours = architecture |> to_string() |> String.split("-") |> hd()
    head = head(path)
    machine = machine(head)

    cond do
      head == {:error, :enotdir} ->
        @archived

      match?({:error, _reason}, head) ->
        {"#{path}: #{head |> elem(1) |> :file.format_error()}", @rebuild}

      machine != ours ->
        {"#{path} is built for #{machine}, the Erlang VM is #{ours}",
         @rebuild <> ", or for #{ours} with CARGO_BUILD_TARGET"}

      words =~ "GLIBC_" ->
        {words, "build it on a system whose glibc is no newer than the one here"}

      true ->
        {words, @rebuild}
    end
  end

  defp head(path) do
    with {:ok, file} <- File.open(path, [:read, :raw]) do
      head = :file.read(file, 20)
      _ = File.close(file)
      head
    end
  end

  defp machine({:ok, <<0x7F, "ELF", _class, 1, _::80, _type::16, machine::little-16, _::binary>>}) do
    Map.get(@machines, machine, "machine #{machine}")
  end

  defp machine(_head), do: "no machine that is known"
end
