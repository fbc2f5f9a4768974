defmodule Nlns.Compare do
  @moduledoc "What iproute2 and nft say about a namespace, to be compared with what nlns answers."

  import ExUnit.Assertions

  alias Nlns.Netlink
  alias Nlns.Netlink.Message

  @doc "What a program prints in the namespace."
  @spec run!(Path.t(), String.t(), [String.t()]) :: String.t()
  def run!(path, program, args) do
    case System.cmd("nsenter", ["--net=#{path}", program | args], stderr_to_stdout: true) do
      {output, 0} -> output
      {output, status} -> raise "#{program} #{Enum.join(args, " ")}: #{status}, #{output}"
    end
  end

  @doc "The same for a program that prints JSON. Some print nothing for an empty list."
  @spec json!(Path.t(), String.t(), [String.t()]) :: term()
  def json!(path, program, args) do
    case run!(path, program, args) do
      "" -> []
      # iproute2 prints an empty object for some lists' entries that it filters out.
      output -> output |> Nlns.Json.decode!() |> reject_empty()
    end
  end

  @doc "Makes a namespace what a test needs, by commands, one a line."
  @spec run_all!(Path.t(), String.t()) :: :ok
  def run_all!(path, commands) do
    run!(path, "sh", ["-ec", commands])
    :ok
  end

  @doc "Gives nft its rules."
  @spec nft!(Path.t(), String.t()) :: :ok
  def nft!(path, rules) do
    file = Path.join(System.tmp_dir!(), Nlns.Netns.unique("nlnsnft"))
    File.write!(file, rules)
    run!(path, "nft", ["-f", file])
    File.rm!(file)
    :ok
  end

  @doc "The addresses of links and of IP as text."
  @spec mac(binary()) :: String.t()
  def mac(bytes), do: Enum.map_join(:binary.bin_to_list(bytes), ":", &hex/1)

  @spec ip(binary()) :: String.t()
  def ip(<<a, b, c, d>>), do: to_string(:inet.ntoa({a, b, c, d}))
  def ip(bytes), do: to_string(:inet.ntoa(List.to_tuple(for <<n::16 <- bytes>>, do: n)))

  @doc "The payloads of a dump."
  @spec dump(Path.t(), atom(), non_neg_integer(), iodata()) :: [binary()]
  def dump(path, protocol, type, payload) do
    request = %Message{type: type, flags: :dump, payload: payload}
    assert {:ok, messages} = Netlink.execute(path, protocol, request)
    for message <- messages, do: message.payload
  end

  @doc "Maps in an order of their own, with these keys, without what is absent."
  @spec rows([map()], :all | [String.t()]) :: [map()]
  def rows(maps, keys \\ :all) do
    maps |> Enum.map(&row(&1, keys)) |> Enum.sort()
  end

  defp row(map, keys) do
    for {key, value} <- map,
        value != nil,
        keys == :all or key in keys,
        into: %{},
        do: {key, value}
  end

  defp hex(byte),
    do: byte |> Integer.to_string(16) |> String.downcase() |> String.pad_leading(2, "0")

  defp reject_empty(list) when is_list(list), do: Enum.reject(list, &(&1 == %{}))
  defp reject_empty(other), do: other
end
