defmodule Nlns.Soak.LetGo do
  @moduledoc false
  # How long the host's end of a veth pair outlives the name of the namespace that has the other end:
  # where a helper sleeps in the namespace, or slept until it was released, beside namespaces that nlns
  # never touched, by turns.
  #
  # Note: for a pool with `idle_timeout: :infinity`, so that no helper leaves by itself.

  alias Nlns.Netns

  # Far beyond; the deletion before the next is over in any case.
  @patience 10_000

  @doc "Makes so many of both, and measures: `{ours, untouched}`, sorted, in ms."
  def measure(count, how) when how in [:pinned, :released] do
    {ours, untouched} = make(2 * count) |> Enum.split(count)
    deleter = deleter()
    # Events are kept from the first call on.
    Nlns.Native.events()
    pin(Map.new(ours, fn {name, _host} -> {Netns.path(name), true} end))

    if how == :released,
      do: for({name, _host} <- ours, do: :ok = Nlns.release(Netns.path(name)))

    times =
      for {one, other} <- Enum.zip(ours, untouched),
          do: {delete(deleter, one), delete(deleter, other)}

    Port.close(deleter)
    {ours, untouched} = Enum.unzip(times)
    {Enum.sort(ours), Enum.sort(untouched)}
  end

  def median(sorted), do: Enum.at(sorted, div(length(sorted), 2))
  def worst(sorted), do: List.last(sorted)

  defp make(count) do
    pairs = for n <- 1..count, do: {Netns.unique("letgo#{n}"), Netns.unique("h")}

    lines =
      for {name, host} <- pairs do
        "netns add #{name}\nlink add #{host} type veth peer name inside netns #{name}\n"
      end

    file = Path.join(System.tmp_dir!(), Netns.unique("letgo"))
    File.write!(file, lines)
    Netns.ip!(["-batch", file])
    File.rm!(file)
    pairs
  end

  # A helper that has just fallen asleep serves the next path too, and is not there any more: so each is
  # awaited to settle, which is an event, and the missing ones are opened once more.
  defp pin(paths) do
    there = for %{path: path, state: :pinned} <- Nlns.info().helpers, into: %{}, do: {path, true}
    missing = Map.keys(paths) -- Map.keys(there)

    for path <- missing do
      {:ok, fd} = Nlns.open_in_netns(path, 0)
      Nlns.close_fd(fd)
      await_pinned(path)
      # Longer than it is the first to be woken, wherever it is.
      Process.sleep(2)
    end

    if missing != [], do: pin(paths)
  end

  defp await_pinned(path) do
    case Nlns.Native.events() do
      [] ->
        receive do
          {:nlns, :events} -> await_pinned(path)
        after
          @patience -> raise "no helper has settled in #{path} within #{@patience} ms"
        end

      events ->
        unless Enum.any?(events, &match?({:pinned, _helper, ^path, _count}, &1)),
          do: await_pinned(path)
    end
  end

  # One ip(8) for all, so that starting it is not measured.
  defp deleter do
    ip = System.find_executable("ip")
    Port.open({:spawn_executable, ip}, [:binary, :stderr_to_stdout, args: ~w(-batch -)])
  end

  defp delete(deleter, {name, host}) do
    true = there?(host)
    from = now()
    Port.command(deleter, "netns del #{name}\n")
    (await_gone(host, from + @patience * 1_000) - from) / 1_000
  end

  defp await_gone(host, until) do
    cond do
      not there?(host) -> now()
      now() > until -> raise "#{host} is still there after #{@patience} ms"
      true -> Process.sleep(1) && await_gone(host, until)
    end
  end

  defp there?(host), do: match?({:ok, _}, :net.if_name2index(to_charlist(host)))
  defp now, do: System.monotonic_time(:microsecond)
end
