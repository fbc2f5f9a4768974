defmodule NetnsAgent.Netlink do
  @moduledoc "Reads the interfaces of namespaces and their counters: one dump of RTM_GETLINK each, rtnetlink(7)."

  alias Nlns.Netlink.{Attribute, DecodeError, Message}
  alias NetnsAgent.{Config, Sample, Text}

  # RTM_GETLINK with a struct ifinfomsg that has nothing in it: every interface.
  @request %Message{type: 18, flags: :dump, payload: <<0::128>>}
  # IFLA_IFNAME, IFLA_STATS64
  @formats [name: {3, :string}, stats: {23, :binary}]
  @enoent 2
  @etimedout 110

  @doc """
  Lazily, for each path in any order: its reading, or `:gone` if nothing is there any more.

  `stream` is what asks; the measurement compares with another.
  """
  @spec read([binary()], Config.t(), function()) ::
          Enumerable.t({binary(), Sample.reading() | :gone})
  def read(paths, config, stream \\ &Nlns.Netlink.stream/4) do
    options = [max_in_flight: config.concurrency, timeout: config.scrape_timeout, ordered: false]
    answers = stream.(paths, :route, @request, options)
    Stream.map(answers, fn {path, answer} -> {path, reading(answer, config.max_interfaces)} end)
  end

  defp reading({:ok, messages}, max) do
    {messages, more} = Enum.split(messages, max)
    {:ok, Enum.map(messages, &link/1), more != []}
  rescue
    error in DecodeError -> {:error, {:malformed, Exception.message(error)}}
  end

  defp reading({:error, {:open, @enoent}}, _max), do: :gone

  # {stage, errno}, or {:netlink, errno, details} where the kernel refuses.
  defp reading({:error, reason}, _max) do
    kind = if elem(reason, 1) == @etimedout, do: :timeout, else: elem(reason, 0)
    {:error, {kind, Text.readable(Nlns.format_error(reason))}}
  end

  # struct ifinfomsg: family, padding, type, index, flags (of which the last is IFF_UP), change; then the attributes.
  defp link(%Message{payload: <<_::32, index::native-32, flags::native-32, _::32, rest::binary>>}) do
    %{name: name, stats: stats} = Attribute.to_map!(rest, @formats)
    counters = for <<n::native-64 <- binary_part(stats, 0, 64)>>, do: n
    counters = Sample.counters() |> Enum.zip(counters) |> Map.new()
    up? = Bitwise.band(flags, 1) == 1
    %{index: index, name: Text.readable(name), up?: up?, counters: counters, rates: %{}}
  end
end
