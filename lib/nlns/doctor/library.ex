defmodule Nlns.Doctor.Library do
  @moduledoc false
  # What was built and installed: the native half, and the application that runs it.

  import Nlns.Doctor, only: [check: 3, check: 4]

  # The e_machine of ELF headers, elf.h, for the processors in `:erlang.system_info/1`'s words.
  @machines %{62 => "x86_64", 183 => "aarch64", 243 => "riscv64", 3 => "i686", 40 => "arm"}

  @spec checks(map()) :: [Nlns.Doctor.check()]
  def checks(facts), do: [library(facts), application(facts)]

  @rebuild "build it here: mix deps.compile nlns --force (in nlns itself: mix compile --force)"

  defp library(%{library: %{head: {:error, reason}} = library}) do
    check("native library", :missing, "#{library.path}: #{:file.format_error(reason)}", @rebuild)
  end

  defp library(%{library: %{head: {:ok, head}} = library}) do
    machine = machine(head)
    ours = library.architecture |> String.split("-") |> hd()

    cond do
      library.loaded? ->
        check("native library", :ok, library.path)

      machine != ours ->
        found = "built for #{machine}, the Erlang VM is #{ours}"
        check("native library", :missing, found, @rebuild)

      true ->
        hint = "the VM's message about on_load says why; if it names GLIBC, " <> @rebuild
        check("native library", :missing, "#{library.path} does not load", hint)
    end
  end

  defp machine(<<0x7F, "ELF", _class, 1, _::80, _type::16, machine::little-16, _::binary>>) do
    Map.get(@machines, machine, "machine #{machine}")
  end

  defp machine(_head), do: "no machine that is known"

  defp application(%{application: :ok}), do: check("application", :ok, "started")

  defp application(%{application: {:error, text}}) do
    check("application", :missing, "does not start", text)
  end
end
