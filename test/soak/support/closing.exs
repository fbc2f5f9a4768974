defmodule Nlns.Soak.Closing do
  @moduledoc false
  # The closing table: what was done, and what is held now beside what was held before.

  import Nlns.Patience

  alias Nlns.Soak.Tally

  # Of the plateau after warm-up: what a measurement of it varies by. A slow machine makes fewer namespaces, and the
  # plateau is not as even.
  @growth 0.10 * min(within(1), 3)
  # Fewer and the run says little.
  @made_per_minute 10_000

  @doc "Prints it; the exit status."
  def table(before, now, plateau, ms) do
    IO.puts("\ndone in #{div(ms, 1_000)} s")
    for {what, count} <- Tally.all(), do: line([text(what), count])

    IO.puts("")
    line(["held", "before", "after", ""])

    held =
      rows("descriptors", before.descriptors, now.descriptors) ++
        rows("threads", before.threads, now.threads) ++
        [
          row("threads outside the VM's namespace", before.outside, now.outside),
          row("network namespaces in the kernel", before.namespaces, now.namespaces),
          row(
            "resident KiB (before: after warm-up)",
            plateau,
            now.rss_kib,
            plateau * (1 + @growth)
          ),
          row("violations", 0, Tally.counted(:violation)),
          at_least(
            "namespaces made (before: at least)",
            div(@made_per_minute * ms, within(60_000)),
            Tally.counted(:made)
          )
        ]

    for {text, was, is, ok?} <- held, do: line([text, was, is, if(ok?, do: "ok", else: "FAILED")])
    if Enum.all?(held, fn {_, _, _, ok?} -> ok? end), do: 0, else: 1
  end

  # One row for what is as it was, one for each kind that is not.
  defp rows(what, before, now) do
    sum = &Enum.sum(Map.values(&1))

    changed =
      for kind <- Map.keys(Map.merge(before, now)),
          was = Map.get(before, kind, 0),
          is = Map.get(now, kind, 0),
          is > was,
          do: row("#{what}: #{kind}", was, is)

    [row(what, sum.(before), sum.(now)) | changed]
  end

  defp row(what, was, is), do: row(what, was, is, was)
  defp row(what, was, is, limit), do: {what, was, is, is <= limit}
  defp at_least(what, least, is), do: {what, least, is, is >= least}

  defp text({:killed, kind}), do: "killed: #{kind}"
  defp text({:short_timeout, reason}), do: "short timeout: #{inspect(reason)}"
  defp text(what) when is_atom(what), do: what |> to_string() |> String.replace("_", " ")
  defp text(reason), do: "answered #{inspect(reason)}"

  defp line([what | cells]) do
    IO.puts([
      String.pad_trailing(what, 42) | for(cell <- cells, do: String.pad_leading("#{cell}", 10))
    ])
  end
end
