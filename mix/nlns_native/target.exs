defmodule NlnsNative.Target do
  @moduledoc false
  # The target that the library is for: a triple in Rust's words, and what cargo must be told of it.
  #
  # - `CARGO_BUILD_TARGET` is cargo's own variable and goes before all others.
  # - `TARGET_ARCH`, `TARGET_OS`, `TARGET_ABI` and `TARGET_VENDOR` are Nerves', and RustlerPrecompiled reads
  #   them as well; `CROSSCOMPILE` and `CC` are the compiler that belongs to them.
  # - Else it is the machine of this VM.

  alias NlnsNative.Elf

  defstruct [:triple, env: []]

  @type t :: %__MODULE__{triple: String.t(), env: [{String.t(), String.t()}]}

  @variables ~w(TARGET_ARCH TARGET_OS TARGET_ABI TARGET_VENDOR)

  # Processors whose name in Rust is another one.
  @renamed %{
    "amd64" => "x86_64",
    "arm64" => "aarch64",
    "armv6l" => "arm",
    "armv7l" => "armv7",
    "i386" => "i686",
    "ppc64le" => "powerpc64le",
    "riscv64" => "riscv64gc"
  }

  @doc "Reads it off the environment; raises where that contradicts itself or says too little."
  @spec wanted!(%{String.t() => String.t()}, String.t()) :: t()
  def wanted!(
        env \\ System.get_env(),
        architecture \\ to_string(:erlang.system_info(:system_architecture))
      ) do
    set = Map.reject(env, fn {_name, value} -> value == "" end)
    own = own(architecture)
    told = told(set, own)
    cross? = is_map_key(set, "CROSSCOMPILE") or told not in [nil, own]

    {triple, variables} =
      case set do
        %{"CARGO_BUILD_TARGET" => named} ->
          triple = Path.basename(named, ".json")
          if told, do: require_same!(triple, told)
          {triple, if(cross?, do: linker(set, triple), else: [])}

        _set when not cross? ->
          {own, []}

        _set when told == nil ->
          Mix.raise(
            "nlns cannot tell for which machine to build its native half: CROSSCOMPILE is set, and neither " <>
              "TARGET_ARCH nor CARGO_BUILD_TARGET; set CARGO_BUILD_TARGET to the target, say " <>
              "aarch64-unknown-linux-gnu"
          )

        _set ->
          {told, [{"CARGO_BUILD_TARGET", told} | linker(set, told)]}
      end

    %__MODULE__{triple: triple, env: variables ++ flags(env, triple)}
  end

  @doc "The variable with which cargo is told the linker of a target."
  @spec linker_variable(String.t()) :: String.t()
  def linker_variable(triple),
    do: "CARGO_TARGET_#{triple |> String.replace(["-", "."], "_") |> String.upcase()}_LINKER"

  # From a triple such as x86_64-pc-linux-gnu or x86_64-alpine-linux-musl.
  defp own(architecture) do
    case String.split(architecture, "-") do
      [arch, _vendor, "linux", abi] -> triple(arch, "unknown", abi)
      [arch, "linux", abi] -> triple(arch, "unknown", abi)
      _other -> architecture
    end
  end

  # `nil` where none of the variables is set. What they leave open is as on this machine.
  defp told(env, own) do
    if Enum.any?(@variables, &is_map_key(env, &1)) do
      if Map.get(env, "TARGET_OS", "linux") != "linux" do
        Mix.raise("nlns is for Linux only, and TARGET_OS is #{env["TARGET_OS"]}")
      end

      [own_arch | rest] = String.split(own, "-")
      arch = Map.get(env, "TARGET_ARCH", own_arch)
      triple(arch, Map.get(env, "TARGET_VENDOR", "unknown"), env["TARGET_ABI"] || List.last(rest))
    end
  end

  defp triple(arch, vendor, abi), do: "#{Map.get(@renamed, arch, arch)}-#{vendor}-linux-#{abi}"

  # Unless cargo has been told one. A compiler with arguments is none that cargo takes.
  defp linker(env, triple) do
    variable = linker_variable(triple)

    case env do
      %{^variable => _told} -> []
      %{"CC" => compiler} -> if compiler =~ " ", do: [], else: [{variable, compiler}]
      %{"CROSSCOMPILE" => prefix} -> [{variable, prefix <> "-gcc"}]
      _env -> []
    end
  end

  # musl is a static library unless Rust is told otherwise, and a NIF has to be a shared one. cargo takes these
  # variables in the place of .cargo/config.toml, which says it where they are not set.
  defp flags(env, triple) do
    shared = ["-C", "target-feature=-crt-static"]

    case {triple =~ "-musl", env} do
      {true, %{"CARGO_ENCODED_RUSTFLAGS" => flags}} ->
        [{"CARGO_ENCODED_RUSTFLAGS", Enum.join([flags | shared], "\x1f")}]

      {true, %{"RUSTFLAGS" => flags}} ->
        [{"RUSTFLAGS", Enum.join([flags | shared], " ")}]

      _other ->
        []
    end
  end

  defp require_same!(triple, told) do
    if Elf.machine(triple) != Elf.machine(told) do
      Mix.raise(
        "nlns cannot tell for which machine to build its native half: CARGO_BUILD_TARGET is #{triple}, and " <>
          "TARGET_ARCH and its kin say #{told}; unset one of them"
      )
    end
  end
end
