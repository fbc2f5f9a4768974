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

  Ctrl-C twice ends it. A view takes the last one's place on a terminal, and comes below it elsewhere.

  The rates are of the time since the last look. Helpers that are `stuck` in the kernel come first,
  then the busiest; `t:Nlns.info/0` and `t:Nlns.helper/0` say what the words mean.
  """
  use Mix.Task

  # The longest time that `receive` waits.
  @longest 4_294_967_295

  @clear "\e[H\e[2J"

  @timeout 5_000

  @switches [node: :string, cookie: :string, interval: :integer, once: :boolean]

  @impl true
  def run(args) do
    options = options!(args)
    Mix.Task.run("app.config")
    node = if name = options[:node], do: connect!(name, options[:cookie]), else: start!()
    interval = Keyword.get(options, :interval, 1_000)
    first = {info!(node), now()}
    unless options[:once], do: show(node, {nil, 0}, first)
    loop(node, first, interval, options[:once])
  end

  defp options!(args) do
    case OptionParser.parse(args, strict: @switches) do
      {options, [], []} ->
        unless Keyword.get(options, :interval, 1) in 1..@longest,
          do: Mix.raise("--interval must be 1 to #{@longest} (ms)")

        options

      {_options, rest, invalid} ->
        wrong = for({name, value} <- invalid, do: "#{name} #{value}") ++ rest
        Mix.raise("mix nlns.top does not take #{Enum.join(wrong, " ")}; see mix help nlns.top")
    end
  end

  defp start! do
    {:ok, _} = Application.ensure_all_started(:nlns)
    node()
  end

  defp connect!(name, cookie) do
    {:ok, host} = :inet.gethostname()
    name = if name =~ "@", do: name, else: "#{name}@#{host}"
    node = String.to_atom(name)
    _ = Node.alive?() || name_own_node!(name, host)
    if cookie, do: Node.set_cookie(node, String.to_atom(cookie))

    unless Node.connect(node) == true do
      Mix.raise("#{name} cannot be reached: is it running under that name, with the same cookie?")
    end

    node
  end

  # No node connects to this one, so it needs neither epmd nor a port. It is hidden, so that the nodes of a
  # cluster do not take it for a member. A long name must have a dot in it.
  defp name_own_node!(name, host) do
    own = "nlns_top_#{System.pid()}@#{host}"

    {own, domain} =
      if name =~ ~r/@.*\./, do: {own <> ".invalid", :longnames}, else: {own, :shortnames}

    options = %{name_domain: domain, dist_listen: false, hidden: true}

    with {:error, reason} <- :net_kernel.start(String.to_atom(own), options),
         do: Mix.raise("this node cannot be given a name: #{inspect(reason)}")
  end

  defp info!(node) do
    :erpc.call(node, Nlns, :info, [], @timeout)
  rescue
    error in ErlangError ->
      case error.original do
        {:erpc, reason} -> Mix.raise("#{node} does not answer: #{inspect(reason)}")
        {:exception, :undef, _stack} -> Mix.raise("#{node} does not have nlns")
        {:exception, reason, _stack} -> Mix.raise("#{node} failed: #{inspect(reason)}")
      end
  end

  defp loop(node, before, interval, once) do
    Process.sleep(interval)
    now = {info!(node), now()}
    show(node, before, now)
    unless once, do: loop(node, now, interval, once)
  end

  defp show(node, {before, since}, {now, at}) do
    # A file has as many lines as it takes, and is not cleared.
    {screen, clear} =
      with {:ok, columns} <- :io.columns(), {:ok, rows} <- :io.rows() do
        {{rows, columns}, @clear}
      else
        _no_terminal -> {{1_000_000, 1_000_000}, ""}
      end

    IO.write([clear, Nlns.Top.render(node, before, now, at - since, screen), "\n"])
  end

  defp now, do: System.monotonic_time(:millisecond)
end
