defmodule Nlns.Soak.World do
  @moduledoc false
  # Namespaces that come and go: a fixed number of slots, each a name or a process, which are made
  # anew again and again. Who is where is known by cookie, which the kernel never gives twice: the
  # first open after a slot was made must show one that was never seen, and from then on, until the
  # slot is changed, every open of it must show that one.

  alias Nlns.{Netlink, Netns, Rtnetlink}
  alias Nlns.Netlink.{Attribute, Message}
  alias Nlns.Soak.{Processes, Tally}

  @table __MODULE__
  @cookies Module.concat(__MODULE__, Cookies)
  # One slot in so many is a process, the others are names.
  @process_every 16
  @remembered 8

  @doc "The slots, all empty."
  def new(slots) do
    :ets.new(@table, [:named_table, :public, read_concurrency: true])
    :ets.new(@cookies, [:named_table, :public])
    for slot <- 0..(slots - 1), do: :ets.insert(@table, {slot, kind(slot), nil, :empty, 0})
    slots
  end

  @doc "Which kind a slot is of, for ever."
  def kind(slot) when rem(slot, @process_every) == 0, do: :process
  def kind(_slot), do: :name

  @doc "A slot as it is now: `{slot, kind, path or nil, cookie | :changing | :empty, generation}`."
  def look(slot), do: hd(:ets.lookup(@table, slot))

  @doc "Makes these slots anew; answers how many namespaces that were."
  def renew(slots) do
    destroy(slots)
    {processes, names} = Enum.split_with(slots, &(kind(&1) == :process))
    ip(for slot <- names, do: "netns add #{name(slot)}\n")
    pids = Processes.start(length(processes))
    for slot <- names, do: settle(slot, Netns.path(name(slot)))

    for {slot, pid} <- Enum.zip(processes, pids) do
      Process.put({:pid, slot}, pid)
      settle(slot, "/proc/#{pid}/ns/net")
    end

    length(slots)
  end

  @doc "Destroys them. NB: by the process that made them, which knows their numbers."
  def destroy(slots) do
    there = for slot <- slots, {_, _, _, cookie, _} = look(slot), cookie != :empty, do: slot
    for slot <- there, do: :ets.update_element(@table, slot, {4, :changing})
    {processes, names} = Enum.split_with(there, &(kind(&1) == :process))
    ip(for slot <- names, do: "netns del #{name(slot)}\n")
    Processes.kill(for slot <- processes, do: Process.delete({:pid, slot}))
    for slot <- there, do: :ets.update_element(@table, slot, {4, :empty})
    :ok
  end

  # The old path stays readable while the slot changes, so that callers meet what is not there.
  defp settle(slot, path) do
    {_, kind, _, _, generation} = look(slot)

    case Nlns.open_in_netns(path, 0) do
      {:ok, fd} ->
        cookie = Rtnetlink.cookie(fd)
        Nlns.close_fd(fd)

        with {:error, reason} <- Netlink.execute(path, :route, write_mark(cookie)),
             do: Tally.violation("#{path} cannot be marked: #{inspect(reason)}")

        remember(slot, path, cookie)
        :ets.insert(@table, {slot, kind, path, cookie, generation + 1})

      {:error, reason} ->
        Tally.violation("#{path} was just made, and is answered with #{inspect(reason)}")
        :ets.insert(@table, {slot, kind, path, :changing, generation + 1})
    end
  end

  # The last few of each slot: who serves a stale one serves one of those.
  defp remember(slot, path, cookie) do
    if not :ets.insert_new(@cookies, {cookie}),
      do: Tally.violation("#{path} is served from a namespace that was there before it")

    {recent, old} = Enum.split([cookie | recent(slot)], @remembered)
    for cookie <- old, do: :ets.delete(@cookies, cookie)
    :ets.insert(@cookies, {{:recent, slot}, recent})
  end

  # NB: in the table, because a maker ends with its round, and what it forgot would stay there for ever.
  defp recent(slot) do
    case :ets.lookup(@cookies, {:recent, slot}) do
      [{_, recent}] -> recent
      [] -> []
    end
  end

  # A netlink answer tells no cookie, so the cookie is written into the alias of lo.
  @rtm_getlink 18
  @rtm_setlink 19
  @lo <<0::32, 1::native-32, 0::64>>
  @ifla_ifalias 20

  defp write_mark(cookie) do
    alias = Attribute.encode([{@ifla_ifalias, {:string, Integer.to_string(cookie)}}])
    %Message{type: @rtm_setlink, payload: [@lo, alias]}
  end

  @doc "The request for the mark of a namespace."
  def read_mark, do: %Message{type: @rtm_getlink, payload: @lo}

  @doc "The cookie in the answer to it; 0 in a namespace that was not marked yet."
  def mark({:ok, [%Message{payload: <<_::binary-16, attributes::binary>>}]}) do
    case Attribute.to_map!(attributes, alias: {@ifla_ifalias, :string}) do
      %{alias: mark} -> {:ok, String.to_integer(mark)}
      _ -> {:ok, 0}
    end
  end

  def mark(error), do: error

  @doc "How many slots there are."
  def count, do: :ets.info(@table, :size)

  @doc """
  Whether an answer, an error or a cookie, is one that a fresh look would have given at some moment
  between two looks at the slot.
  """
  def possible?({_, _, path, cookie, n}, {_, _, path, cookie, n}, answer) when is_integer(cookie),
    do: answer == {:ok, cookie}

  def possible?({_, _, _, was, n}, {_, _, _, is, m}, {:ok, cookie})
      when is_integer(was) and is_integer(is) and m == n + 1,
      do: cookie in [was, is]

  def possible?(_before, _after, {:ok, _cookie}), do: true
  # Gone, or between ip's creat and mount, or its umount and unlink, a plain file.
  def possible?(_before, _after, {:error, reason}),
    do: reason in [{:open, 2}, {:setns, 22}, {:open, 20}]

  defp name(slot), do: "soak#{System.pid()}-#{slot}"

  defp ip([]), do: :ok

  defp ip(lines) do
    file = Path.join(System.tmp_dir!(), "nlns-soak-#{System.pid()}-#{:erlang.phash2(self())}")
    File.write!(file, lines)
    {"", 0} = System.cmd("ip", ["-batch", file], stderr_to_stdout: true)
    File.rm!(file)
  end
end
