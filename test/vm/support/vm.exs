# For the VM under test as well as for this one.
beams =
  for file <- ~w(netns.exs inside.exs typespec.exs terms.exs fuzz.exs blocked_mount.exs),
      beam <- Code.require_file(file, __DIR__) do
    beam
  end

defmodule Nlns.VM do
  @moduledoc false
  # A virtual machine of its own for each test that may take one down. It runs a block of the test
  # against a copy of the application (so that nothing rebuilt or replaced meanwhile matters), within
  # a hard bound of time, and must end as it should: the exit status, what it printed, no crash dump.

  import ExUnit.Assertions
  import ExUnit.Callbacks, only: [on_exit: 1]
  import Nlns.Patience

  @enforce_keys [:port, :pid, :dir, :deadline]
  defstruct @enforce_keys ++ [lines: []]

  @bound 30_000
  @helpers beams

  @doc "Makes a module of tests that need namespaces, and count nothing of this VM."
  defmacro __using__(_options) do
    quote do
      use ExUnit.Case, async: true
      @moduletag netns: true

      import Nlns.VM
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
    dir = new_dir()
    script = Path.join(dir, "script.exs")
    File.write!(script, [prelude(bindings, options), code, "\n"])
    erl = "-pa #{app_ebin(options[:app] || app())} -pa #{helpers_ebin()} #{options[:erl]}"
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

  @doc "A copy of the application, for a VM that shall see it change."
  def copy_app do
    copy = Path.join(new_dir(), "nlns")
    on_exit(fn -> File.rm_rf!(Path.dirname(copy)) end)
    copy_to(copy)
  end

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
      "import ExUnit.Assertions, warn: false\nimport Nlns.VM.Inside, warn: false\nimport Nlns.Patience, warn: false\n",
      "alias Nlns.VM.Netns, warn: false\n",
      "Application.load(:ex_unit)\nbegin()\n",
      start,
      variables
    ]
  end

  defp dump(dir), do: Path.join(dir, "erl_crash.dump")

  defp app_ebin(app), do: Path.join(app, "ebin")

  # One for the whole run.
  defp app, do: once(:app, fn -> copy_to(Path.join(suite_dir(), "nlns")) end)

  defp helpers_ebin do
    once(:helpers, fn ->
      ebin = Path.join(suite_dir(), "helpers")
      File.mkdir_p!(ebin)

      for {module, beam} <- @helpers, do: File.write!(Path.join(ebin, "#{module}.beam"), beam)
      ebin
    end)
  end

  defp suite_dir do
    once(:suite_dir, fn ->
      dir = new_dir()
      ExUnit.after_suite(fn _ -> File.rm_rf!(dir) end)
      dir
    end)
  end

  defp once(key, make) do
    :global.trans({{__MODULE__, key}, self()}, fn ->
      with nil <- :persistent_term.get({__MODULE__, key}, nil) do
        made = make.()
        :persistent_term.put({__MODULE__, key}, made)
        made
      end
    end)
  end

  defp copy_to(copy) do
    File.mkdir_p!(copy)

    for part <- ~w(ebin priv) do
      {"", 0} = System.cmd("cp", ["-rL", Application.app_dir(:nlns, part), copy])
    end

    copy
  end

  # For every user: some VMs run as another one.
  defp new_dir do
    dir =
      Path.join(
        System.tmp_dir!(),
        "nlns-vm-#{System.pid()}-#{System.unique_integer([:positive])}"
      )

    File.mkdir_p!(dir)
    File.chmod!(dir, 0o777)
    dir
  end
end
