defmodule Nlns.NetnsCase do
  @moduledoc """
  Tests that make namespaces and count what is left.

  After each test, whatever became of it: its namespaces are removed, its mailbox was empty at its
  end, and within a bound there are no more descriptors and threads than before it, no thread outside
  the VM's namespace, and no path that the pool still knows.
  """

  use ExUnit.CaseTemplate

  import Nlns.Patience
  alias Nlns.{Netns, Proc, Rtnetlink}

  # At least: on a busy machine one look may take as long as all of them may.
  @looks 20

  using do
    quote do
      @moduletag netns: true

      import ExUnit.Case, except: [test: 2, test: 3]
      import Nlns.{NetnsCase, Patience}
      alias Nlns.{Handle, Netns, Proc, Rtnetlink}
    end
  end

  setup do
    before = state()
    on_exit(fn -> assert_back_at(before) end)
  end

  @doc "As `ExUnit.Case.test/3`, and no message may be left in the end."
  defmacro test(name, context \\ quote(do: _), do: body) do
    quote do
      ExUnit.Case.test unquote(name), unquote(context) do
        unquote(body)
        Nlns.NetnsCase.refute_messages()
      end
    end
  end

  def refute_messages do
    assert {:messages, []} = Process.info(self(), :messages)
  end

  @doc "Makes a namespace that is removed after the test; its path."
  def netns do
    name = Netns.unique("nlnstest")
    on_exit(fn -> System.cmd("ip", ["netns", "del", name], stderr_to_stdout: true) end)
    Netns.add(name)
  end

  @doc "Makes an interface on the host that is removed after the test; its name."
  def host_link do
    name = Netns.add_host_link()
    on_exit(fn -> Netns.del_link(name) end)
    name
  end

  @doc "A directory that is removed after the test."
  def tmp_dir do
    path = Path.join(System.tmp_dir!(), Netns.unique("nlnstest"))
    on_exit(fn -> File.rm_rf!(path) end)
    File.mkdir_p!(path)
    path
  end

  @doc "Starts the application anew with other settings, until the end of the test."
  def restart(settings) do
    before = Application.get_all_env(:nlns)
    on_exit(fn -> start_with(before) end)
    start_with(Keyword.merge(before, settings))
  end

  @doc "Starts the application anew with these settings and no others."
  def start_with(settings) do
    Application.stop(:nlns)
    for {key, _} <- Application.get_all_env(:nlns), do: Application.delete_env(:nlns, key)
    Application.put_all_env(nlns: settings)
    :ok = Application.start(:nlns)
    # The pool starts its own threads one after the other, a helper last.
    eventually(fn -> assert [_ | _] = Nlns.info().helpers end)
  end

  @doc "Opens, looks and closes: the cookie of the namespace that `path` leads to."
  def cookie_at(path) do
    assert {:ok, fd} = Nlns.open_in_netns(path, 0)
    cookie = Rtnetlink.cookie(fd)
    Nlns.close_fd(fd)
    cookie
  end

  @doc "Opens, asks and closes: the interfaces where `path` leads to."
  def links_at(path) do
    assert {:ok, fd} = Nlns.open_in_netns(path, 0)
    links = Rtnetlink.links(fd)
    Nlns.close_fd(fd)
    links
  end

  @doc "Waits for the answers of a path that are on their way. They come in order, and this one's is the last."
  def fence(path), do: assert({:error, {:socket, 93}} = Nlns.open_in_netns(path, 999))

  @doc "Makes a helper sleep in each of these namespaces. Only where helpers stay for ever."
  defdelegate pin(paths), to: Nlns.Settle

  @doc "The top supervisor of the application, which has no name."
  def supervisor do
    {pid, Nlns.Application} =
      :nlns |> :application_controller.get_master() |> :application_master.get_child()

    pid
  end

  @doc "The handle of a request."
  def handle(%Nlns.Request{ref: ref}) do
    assert_receive {:nlns, ^ref, {:ok, %Nlns.Handle{} = handle}}
    handle
  end

  @doc "Runs `fun` until none of its assertions fails; fails like the last of them when patience ends."
  def eventually(fun) do
    poll(fun, System.monotonic_time(:millisecond) + within(), @looks)
  end

  @doc "Runs `fun`, with its assertions, again and again for `ms`."
  def always(fun, ms) do
    until = System.monotonic_time(:millisecond) + ms
    Stream.repeatedly(fun) |> Enum.find(fn _ -> pause(2) && past?(until) end)
  end

  defp poll(fun, until, looks) do
    fun.()
  rescue
    error in [ExUnit.AssertionError, MatchError] ->
      if looks <= 0 and past?(until), do: reraise(error, __STACKTRACE__)
      pause(5)
      poll(fun, until, looks - 1)
  end

  defp past?(until), do: System.monotonic_time(:millisecond) >= until

  defp pause(ms) do
    Process.sleep(ms)
    true
  end

  defp state do
    {pool, vm} = Enum.split_with(Proc.threads(), &String.starts_with?(&1.name, "nlns"))
    %{descriptors: Proc.descriptor_kinds(), vm_threads: length(vm), pool_threads: length(pool)}
  end

  defp assert_back_at(before) do
    eventually(fn ->
      assert grown(before.descriptors, Proc.descriptor_kinds()) == %{}
      assert Proc.threads_outside() == []

      assert %{paths: 0, waiting: 0, closing: 0, stuck: 0, died: 0, helpers: helpers} =
               Nlns.info()

      now = state()
      assert now.vm_threads <= before.vm_threads
      # The manager, the watcher, the closer, and each helper that the pool knows of.
      assert now.pool_threads == 3 + length(helpers)
    end)
  end

  defp grown(before, now) do
    for {kind, count} <- now, count > Map.get(before, kind, 0), into: %{} do
      {kind, count - Map.get(before, kind, 0)}
    end
  end
end
