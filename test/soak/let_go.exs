# How soon a deleted namespace is let go of, in full size; scripts/soak runs it:
#
#     mix run --no-start test/soak/let_go.exs

for file <- ~w(patience rtnetlink netns settle),
    do: Code.require_file("../support/#{file}.ex", __DIR__)

Code.require_file("support/let_go.exs", __DIR__)

alias Nlns.Patience
alias Nlns.Soak.LetGo

count = 256
Application.put_all_env(nlns: [idle_timeout: :infinity, max_helpers: 2 * count])
{:ok, _} = Application.ensure_all_started(:nlns)

ms = fn time -> :io_lib.format("~10.1f", [time]) end

row = fn what, times ->
  IO.puts([String.pad_trailing(what, 42), ms.(LetGo.median(times)), ms.(LetGo.worst(times))])
end

IO.puts("\nms from `ip netns del` to the end of its veth pair, #{count} of each, by turns")
IO.puts([String.duplicate(" ", 42), "    median     worst"])
{pinned, beside} = LetGo.measure(count, :pinned)
row.("a helper sleeps there, idle_timeout :infinity", pinned)
row.("  untouched by nlns", beside)
{released, beside_released} = LetGo.measure(count, :released)
row.("released before", released)
row.("  untouched by nlns", beside_released)

# The promise is 60 and 300 ms. Where the kernel is so busy that others' namespaces take long too, as
# long as those, and the time of a wake-up.
within = fn times, beside, median, worst ->
  LetGo.median(times) <= max(median, 1.5 * LetGo.median(beside) + 10) and
    LetGo.worst(times) <= max(worst, 2 * LetGo.worst(beside))
end

ok? =
  within.(pinned, beside, Patience.within(60), Patience.within(300)) and
    LetGo.median(released) <= 1.25 * LetGo.median(beside_released) + 5

IO.puts(if ok?, do: "ok", else: "FAILED: nlns held them for longer than it may")
System.halt(if ok?, do: 0, else: 1)
