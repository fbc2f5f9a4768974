defmodule Nlns.VM.Inside do
  @moduledoc false
  # What the VM under test can say about itself, and what it can do to itself.

  import ExUnit.Assertions
  import Nlns.Patience

  @doc "The threads of this VM: `{tid, name}`."
  def threads do
    for tid <- File.ls!("/proc/self/task"),
        {:ok, name} <- [File.read("/proc/self/task/#{tid}/comm")],
        do: {tid, String.trim(name)}
  end

  @doc "The thread of the first scheduler, whose name is another since OTP 26: `{tid, name}`."
  def first_scheduler do
    Enum.find(threads(), fn {_, name} -> name in ["erts_sched_1", "1_scheduler"] end)
  end

  @doc "The pool's threads."
  def pool_threads, do: for({tid, "nlns" <> _} <- threads(), do: tid)

  @doc "The pool's helpers."
  def helpers, do: for({tid, "nlns-helper"} <- threads(), do: tid)

  @doc "Threads that are not helpers and not in the VM's namespace."
  def strays do
    home = File.read_link!("/proc/self/ns/net")

    # The name is read last: a thread has its creator's until it begins to run.
    for tid <- File.ls!("/proc/self/task"),
        {:ok, netns} <- [File.read_link("/proc/self/task/#{tid}/ns/net")],
        netns != home,
        {:ok, name} <- [File.read("/proc/self/task/#{tid}/comm")],
        String.trim(name) != "nlns-helper",
        do: {tid, String.trim(name)}
  end

  @doc "What a thread's status says of `field`; `nil` if it has ended meanwhile, as helpers do."
  def status(tid, field) do
    with {:ok, text} <- File.read("/proc/self/task/#{tid}/status") do
      [_, value] = Regex.run(~r/^#{field}:\s*(.*)$/m, text)
      value
    else
      {:error, _} -> nil
    end
  end

  @doc "The namespaces that threads are in, each once; that of one thread; or the one that a path names."
  def netns_of(tids) when is_list(tids) do
    # One that has ended meanwhile is in none.
    for(tid <- tids, {:ok, netns} <- [File.read_link("/proc/self/task/#{tid}/ns/net")], do: netns)
    |> Enum.uniq()
  end

  def netns_of("/" <> _ = path), do: "net:[#{File.stat!(path).inode}]"
  def netns_of(tid), do: File.read_link!("/proc/self/task/#{tid}/ns/net")

  @doc "Whether a thread with this mask blocks every signal that its own instructions do not raise (signal(7))."
  def takes_no_signal?(mask) do
    {blocked, ""} = Integer.parse(mask, 16)
    # ILL, BUS, FPE, KILL, SEGV, STOP, and the two that glibc keeps for itself.
    for(n <- Enum.to_list(1..64) -- [4, 7, 8, 9, 11, 19, 32, 33], do: n)
    |> Enum.all?(&(Bitwise.band(blocked, Bitwise.bsl(1, &1 - 1)) != 0))
  end

  @doc "How many more descriptors of this VM are sockets than when it started."
  def sockets, do: count_sockets() - :persistent_term.get(__MODULE__)

  @doc "Called once, before the application starts."
  def begin, do: :persistent_term.put(__MODULE__, count_sockets())

  defp count_sockets do
    Enum.count(File.ls!("/proc/self/fd"), fn fd ->
      match?({:ok, "socket:" <> _}, File.read_link("/proc/self/fd/#{fd}"))
    end)
  end

  @doc "Looks until `fun` is true, for at most `ms`."
  def poll(fun, ms \\ 20_000),
    do: poll_until(fun, System.monotonic_time(:millisecond) + within(ms))

  defp poll_until(fun, deadline) do
    cond do
      fun.() -> true
      System.monotonic_time(:millisecond) > deadline -> false
      true -> Process.sleep(2) && poll_until(fun, deadline)
    end
  end

  @doc "The modules of the library, without those of its tests."
  def library_modules do
    {:ok, modules} = :application.get_key(:nlns, :modules)

    for module <- modules,
        to_string(module.module_info(:compile)[:source]) =~ "/lib/nlns",
        do: module
  end

  @doc "Takes the code away; the next call has it loaded again."
  def purge_native do
    :code.delete(Nlns.Native)
    :code.purge(Nlns.Native)
    true = poll(fn -> Nlns.info() && :code.is_loaded(Nlns.Native) != false end)
  end

  @doc "Tells the test that all is ready: by a file, because a halt may drop what was printed."
  def announce, do: File.write!("ready", "x")

  @doc "Ends this VM."
  def end_by(:halt), do: System.halt(0)
  def end_by(:halt_without_flush), do: :erlang.halt(0, flush: false)
  def end_by(:stop), do: System.stop(0) && Process.sleep(:infinity)
  def end_by(:signal), do: Process.sleep(:infinity)

  @doc "A process in a network namespace of its own, until this VM ends; its path."
  def process do
    unshare = System.find_executable("unshare")
    port = Port.open({:spawn_executable, unshare}, args: ["-n", "cat"])
    {:os_pid, pid} = Port.info(port, :os_pid)
    path = "/proc/#{pid}/ns/net"
    true = poll(fn -> File.read_link!(path) != netns_of(System.pid()) end)
    path
  end

  @doc "In a mount namespace of this VM's own: room for namespaces with names."
  def own_run do
    {"", 0} = System.cmd("mount", ~w(-t tmpfs none /run))
    File.mkdir!("/run/netns")
  end

  @doc "Starts another node, with nlns's code but not the application; sockets count from here on."
  def start_node do
    paths = Enum.flat_map(:code.get_path(), &[~c"-pa", &1])
    cookie = [~c"-setcookie", Atom.to_charlist(Node.get_cookie())]
    args = [~c"-kernel", ~c"inet_dist_use_interface", ~c"{127,0,0,1}"] ++ cookie ++ paths
    wait = within()

    {:ok, peer, node} =
      :peer.start(%{name: ~c"away", host: ~c"localhost", args: args, wait_boot: wait})

    begin()
    {peer, node}
  end

  @doc "What a process on `node` gets that calls this one's function."
  def from(node, module, function, args) do
    :erpc.call(node, :erpc, :call, [node(), module, function, args])
  end

  @doc "Keeps a term until it is asked for."
  def keep(term) do
    receive do
      {:give, to} -> send(to, {:kept, term})
    end
  end

  @doc "Has a linked process of `node` open sockets without taking what it gets."
  def ask_for_ever(node, path) do
    Node.spawn_link(node, __MODULE__, :flood_for_ever, [path])
    Process.sleep(:infinity)
  end

  def flood_for_ever(path) do
    for _ <- 1..8, do: Nlns.open_in_netns_async(path, 0)
    for _ <- 1..8, do: assert_receive({:nlns, _, _}, within())
    :erlang.garbage_collect()
    flood_for_ever(path)
  end
end
