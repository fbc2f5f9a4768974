defmodule Nlns.Soak.LetGo do
  @moduledoc false
  # How long the host's end of a veth pair outlives the name of the namespace that has the other end:
  # where a helper sleeps in the namespace, or slept until it was released, beside namespaces that nlns
  # never touched, by turns.
  #
  # Note: for a pool with `idle_timeout: :infinity`, so that no helper leaves by itself.

  alias Nlns.{Netns, Settle}

  # Far beyond; the deletion before the next is over in any case.
  @patience 10_000

  @doc "Makes so many of both, and measures: `{ours, untouched}`, sorted, in ms."
  def measure(count, how) when how in [:pinned, :released] do
    {ours, untouched} = make(2 * count) |> Enum.split(count)
    deleter = deleter()
    Settle.pin(for {name, _host} <- ours, do: Netns.path(name))

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
