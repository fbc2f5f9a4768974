defmodule Mix.Tasks.Nlns.Top do
  @shortdoc "Shows the pool's helpers, paths and rates"
  @moduledoc """
  Shows the helpers of a pool, where they are and what they do, anew every second:

      mix nlns.top --node my_app@host [--cookie COOKIE] [--interval MS] [--once]

    * `--node`: the node to watch, over Erlang distribution; on this host if it says none. Without it, the
      pool is one that the task itself starts, which is of use to see that it works
    * `--cookie`: that node's, if it is not the one in `~/.erlang.cookie`
    * `--interval`: ms between two looks, 1000 if not said
    * `--once`: one view after one interval, and the end

  q or Ctrl-C ends it. Where the output is no terminal, the views come below one another.

  The rates are of the time since the last look. Helpers that are `stuck` in the kernel come first,
  then the busiest; `Nlns.info/0` tells what the words mean.
  """
  use Mix.Task

  alias Nlns.Top
  alias Nlns.Top.{Remote, Terminal}

  # What `receive` waits at most.
  @longest 4_294_967_295

  @switches [node: :string, cookie: :string, interval: :integer, once: :boolean]

  @impl true
  def run(args) do
    options = options!(args)
    Mix.Task.run("app.config")
    info = source!(options)
    # Fails here if the node cannot be asked, before the terminal is touched.
    first = {info.(), now()}
    interval = Keyword.get(options, :interval, 1_000)

    if options[:once],
      do: once(options, info, first, interval),
      else: watch(options, info, first, interval)
  end

  defp options!(args) do
    case OptionParser.parse(args, strict: @switches) do
      {options, [], []} ->
        unless Keyword.get(options, :interval, 1) in 1..@longest,
          do: Mix.raise("--interval must be 1 to #{@longest} (ms)")

        options

      {_options, _rest, [{"--interval", value} | _]} when value != nil ->
        Mix.raise("--interval must be a number (ms), not #{value}")

      {_options, rest, invalid} ->
        wrong = Enum.map(invalid, &elem(&1, 0)) ++ rest
        Mix.raise("mix nlns.top does not know #{Enum.join(wrong, " ")}; see mix help nlns.top")
    end
  end

  defp source!(options) do
    case options[:node] do
      nil ->
        {:ok, _} = Application.ensure_all_started(:nlns)
        &Nlns.info/0

      name ->
        node = Remote.connect!(name, options[:cookie])
        fn -> Remote.info!(node) end
    end
  end

  defp once(options, info, before, interval) do
    Process.sleep(interval)
    show(nil, options, before, {info.(), now()})
  end

  defp watch(options, info, before, interval) do
    terminal = Terminal.open()

    try do
      Terminal.watch_keys(terminal)
      show(terminal, options, {nil, 0}, before)
      loop(terminal, options, info, before, interval)
    after
      Terminal.close(terminal)
    end
  end

  defp loop(terminal, options, info, before, interval) do
    receive do
      :quit -> :ok
    after
      interval ->
        now = {info.(), now()}
        show(terminal, options, before, now)
        loop(terminal, options, info, now, interval)
    end
  end

  defp show(terminal, options, {before, since}, {now, at}) do
    node = options[:node] || to_string(node())
    Terminal.show(terminal, Top.render(node, before, now, at - since, Terminal.screen(terminal)))
  end

  defp now, do: System.monotonic_time(:millisecond)
end
