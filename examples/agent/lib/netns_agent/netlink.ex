defmodule NetnsAgent.Netlink do
  @moduledoc "Reads the interfaces of namespaces and their counters: one dump of RTM_GETLINK each, rtnetlink(7)."

  alias Nlns.Netlink.{Attribute, DecodeError, Message}
  alias NetnsAgent.{Config, Sample, Text}

  # linux/rtnetlink.h, linux/if_link.h, linux/if.h, and ENOENT and ETIMEDOUT
  @rtm_getlink 18
  @ifla_ifname 3
  @ifla_stats64 23
  @iff_up 1
  @enoent 2
  @etimedout 110

  @doc """
  Lazily, for each path in any order: its reading, or `:gone` if nothing is there any more.

  `stream` is what asks; the measurement compares with another.
  """
  @spec read([binary()], Config.t(), function()) ::
          Enumerable.t({binary(), Sample.reading() | :gone})
  def read(paths, config, stream \\ &Nlns.Netlink.stream/4) do
    # struct ifinfomsg with nothing in it: every interface.
    request = %Message{type: @rtm_getlink, flags: :dump, payload: <<0::128>>}
    options = [max_in_flight: config.concurrency, timeout: config.scrape_timeout, ordered: false]

    paths
    |> stream.(:route, request, options)
    |> Stream.map(fn {path, answer} -> {path, reading(answer, config.max_interfaces)} end)
  end

  defp reading({:ok, messages}, max) do
    {messages, more} = Enum.split(messages, max)
    {:ok, Enum.map(messages, &link/1), more != []}
  rescue
    error in DecodeError -> {:error, {:malformed, Exception.message(error)}}
  end

  defp reading({:error, {:open, @enoent}}, _max), do: :gone

  defp reading({:error, reason}, _max) do
    kind = if elem(reason, 1) == @etimedout, do: :timeout, else: elem(reason, 0)
    {:error, {kind, Text.readable(Nlns.format_error(reason))}}
  end

  # struct ifinfomsg: family, padding, type, index, flags, change; then the attributes.
  defp link(%Message{payload: <<_::32, index::native-32, flags::native-32, _::32, rest::binary>>}) do
    formats = [name: {@ifla_ifname, :string}, stats: {@ifla_stats64, :binary}]
    %{name: name, stats: stats} = Attribute.to_map!(rest, formats)

    %{
      index: index,
      name: Text.readable(name),
      up?: Bitwise.band(flags, @iff_up) != 0,
      counters: Sample.counters(stats),
      rates: %{}
    }
  end
end
