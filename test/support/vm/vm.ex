defmodule Nlns.VM do
  @moduledoc false
  # A virtual machine of its own for each test that may take one down. It runs a block of the test
  # against a copy of the application (so that nothing rebuilt or replaced meanwhile matters), within
  # a hard bound of time, and must end as it should: the exit status, what it printed, no crash dump.

  import ExUnit.Assertions
  import ExUnit.Callbacks, only: [on_exit: 1]
  import Nlns.Patience

  alias Nlns.VM.Files

  @enforce_keys [:port, :pid, :dir, :deadline]
  defstruct @enforce_keys ++ [lines: []]

  @bound 60_000
  @imported [ExUnit.Assertions, Nlns.Patience, Nlns.VM.Inside, Nlns.VM.Callers]

  @doc "Makes a module of tests that need namespaces, and count nothing of this VM."
  defmacro __using__(_options) do
    quote do
      use ExUnit.Case, async: true
      @moduletag netns: true

      import Nlns.{Patience, VM}
      alias Nlns.Netns, warn: false
      alias Nlns.VM.BlockedMount, warn: false
    end
  end

  @doc """
  Runs `block` in a new VM, with `bindings` as its variables, to its end; answers what it printed.

  Options: `config` of the application (`nil`: not started), `erl` flags, `wrap` (a command to run
  the VM under), `app` (a copy made by `copy_app/0`), `env`, `status` that is expected, `bound` in ms.
  """
  defmacro vm(bindings \\ [], options \\ [], do: block) do
    code = Macro.to_string(block)

    quote do
      options = unquote(options)
      Nlns.VM.finish(Nlns.VM.start(unquote(code), unquote(bindings), options), options)
    end
  end

  @doc "Starts such a VM and does not wait for it."
  defmacro start_vm(bindings \\ [], options \\ [], do: block) do
    code = Macro.to_string(block)
    quote do: Nlns.VM.start(unquote(code), unquote(bindings), unquote(options))
  end

  def start(code, bindings, options) do
    dir = Files.new_dir()
    script = Path.join(dir, "script.exs")
    File.write!(script, [prelude(bindings, options), code, "\n"])
    erl = "-pa #{Path.join(options[:app] || Files.app(), "ebin")} #{options[:erl]}"
    elixir = [System.find_executable("elixir"), "--erl", erl, script]
    [command | args] = List.wrap(options[:wrap]) ++ elixir
    dump = {~c"ERL_CRASH_DUMP", to_charlist(dump(dir))}
    env = for {key, value} <- options[:env] || [], do: {to_charlist(key), to_charlist(value)}

    port =
      Port.open(
        {:spawn_executable, System.find_executable(command)},
        [:binary, :exit_status, :stderr_to_stdout, line: 4096] ++
          [args: args, env: [dump, {~c"HOME", to_charlist(dir)} | env], cd: dir]
      )

    {:os_pid, pid} = Port.info(port, :os_pid)
    on_exit(fn -> File.rm_rf!(dir) end)
    deadline = now() + within(Keyword.get(options, :bound, @bound))
    %__MODULE__{port: port, pid: pid, dir: dir, deadline: deadline}
  end

  @doc "Makes a namespace that goes when the test ends; its path."
  def netns do
    path = Nlns.Netns.add()

    on_exit(fn ->
      System.cmd("ip", ["netns", "del", Path.basename(path)], stderr_to_stdout: true)
    end)

    path
  end

  @doc "Waits until the VM has printed `line`."
  def await_line(%{port: port} = vm, line) do
    case next(vm) do
      {_, {:data, {_, ^line}}} -> vm
      {_, {:data, {_, other}}} -> await_line(%{vm | lines: [other | vm.lines]}, line)
      {^port, {:exit_status, status}} -> flunk("ended with #{status}:\n#{output(vm)}")
    end
  end

  @doc "Waits until the VM has called `Nlns.VM.Inside.announce/0`."
  def await_announced(vm) do
    if now() < vm.deadline and not File.exists?(Path.join(vm.dir, "ready")) do
      Process.sleep(5)
      await_announced(vm)
    else
      # If it never does, the wait for its end tells what there is to tell.
      vm
    end
  end

  @doc "Waits for the end, which must be clean; answers what was printed."
  def finish(%{port: port} = vm, options \\ []) do
    case next(vm) do
      {^port, {:data, {_, line}}} ->
        finish(%{vm | lines: [line | vm.lines]}, options)

      {^port, {:exit_status, status}} ->
        refute File.exists?(dump(vm.dir)), "crashed (#{status}), and left a dump:\n#{output(vm)}"
        expected = Keyword.get(options, :status, 0)
        assert status == expected, "ended with #{status}, not #{expected}:\n#{output(vm)}"
        output(vm)
    end
  end

  def signal(vm, name) do
    {"", 0} = System.cmd("kill", ["-#{name}", "#{vm.pid}"])
    vm
  end

  def now, do: System.monotonic_time(:millisecond)

  defp next(%{port: port} = vm) do
    receive do
      {^port, _} = message -> message
    after
      max(vm.deadline - now(), 0) ->
        threads = describe_threads(vm.pid)
        System.cmd("kill", ["-KILL", "#{vm.pid}"], stderr_to_stdout: true)
        flunk("hangs:\n#{output(vm)}\n#{threads}")
    end
  end

  defp output(vm), do: vm.lines |> Enum.reverse() |> Enum.join("\n")

  defp describe_threads(pid) do
    for task <- Path.wildcard("/proc/#{pid}/task/*"), into: "" do
      [name, wchan] = for file <- ~w(comm wchan), do: read(Path.join(task, file))
      "#{Path.basename(task)} #{name} #{wchan}\n"
    end
  end

  defp read(file) do
    case File.read(file) do
      {:ok, text} -> String.trim(text)
      {:error, reason} -> inspect(reason)
    end
  end

  defp prelude(bindings, options) do
    start =
      case Keyword.get(options, :config, []) do
        nil ->
          ""

        config ->
          """
          Application.put_all_env(nlns: #{inspect(config)})
          {:ok, _} = Application.ensure_all_started(:nlns)
          """
      end

    variables =
      for {name, value} <- bindings, do: "#{name} = #{inspect(value, limit: :infinity)}\n"

    [
      for(module <- @imported, do: "import #{inspect(module)}, warn: false\n"),
      "alias Nlns.Netns, warn: false\n",
      "Application.load(:ex_unit)\n",
      "Application.put_env(:ex_unit, :assert_receive_timeout, #{within()})\n",
      "begin()\n",
      start,
      variables
    ]
  end

  defp dump(dir), do: Path.join(dir, "erl_crash.dump")
end
