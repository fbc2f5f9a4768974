defmodule Nlns.TopTerminalTest do
  # `mix nlns.top` as a person starts it: in a VM of its own, under a terminal that script(1) makes.
  use ExUnit.Case

  import Nlns.Patience

  @moduletag timeout: within(120_000)

  test "on a terminal a view takes the last one's place, until Ctrl-C twice" do
    # The signal is for the shell too, which goes on.
    run = "trap : INT; stty rows 24 columns 100; mix nlns.top --interval 50; echo ended"
    port = on_terminal(run)
    shown = read_until(port, "PATH")
    assert shown =~ "\e[H\e[2Jnlns on "

    # A second one over the first.
    read_until(port, "\e[H\e[2J")
    Port.command(port, <<3>>)
    read_until(port, "(a)bort")
    Port.command(port, <<3>>)
    read_until(port, "ended")
  end

  test "where the output is no terminal the views are plain text, one below the other" do
    port = open("sh", ["-c", "mix nlns.top --interval 50 < /dev/null"])
    shown = read_until(port, "PATH") <> read_until(port, "PATH")
    {:os_pid, pid} = Port.info(port, :os_pid)
    System.cmd("kill", [to_string(pid)])
    refute shown =~ "\e"
  end

  test "--once shows the pool of another node, and the end" do
    # A port known to both takes epmd's place, which would outlive this test.
    {:ok, socket} = :gen_tcp.listen(0, [])
    {:ok, number} = :inet.port(socket)
    :gen_tcp.close(socket)
    epmd = [{"ELIXIR_ERL_OPTIONS", "-start_epmd false -erl_epmd_port #{number}"}]

    ebin = Application.app_dir(:nlns, "ebin")
    code = "{:ok, _} = Application.ensure_all_started(:nlns); IO.puts(node()); IO.gets(\"\")"
    args = ~w(--name top@127.0.0.1 --cookie seen -pa) ++ [ebin, "-e", code]
    port = open("elixir", args, epmd)
    read_until(port, "top@127.0.0.1\n")

    top = fn node, cookie ->
      args = ~w(nlns.top --once --interval 50 --node) ++ [node, "--cookie", cookie]
      System.cmd("mix", args, env: epmd, stderr_to_stdout: true)
    end

    {text, 0} = top.("top@127.0.0.1", "seen")
    assert text =~ "nlns on top@127.0.0.1 "
    assert text =~ "opened/s 0"
    {text, 1} = top.("top@127.0.0.1", "other")
    assert text =~ "top@127.0.0.1 cannot be reached"
    {:ok, host} = :inet.gethostname()
    {text, 1} = top.("top", "seen")
    assert text =~ "top@#{host} cannot be reached"
  end

  test "unknown options are refused" do
    for {args, text} <- [
          {["--colour"], "does not take --colour"},
          {["x"], "does not take x"},
          {["--interval", "0"], "--interval must be 1 to 4294967295 (ms)"},
          {["--interval", "4294967296"], "--interval must be 1 to 4294967295 (ms)"},
          {["--interval", "soon"], "does not take --interval soon"}
        ] do
      assert_raise Mix.Error, ~r/#{Regex.escape(text)}/, fn ->
        Mix.Task.rerun("nlns.top", args)
      end
    end
  end

  defp on_terminal(command) do
    open("script", ["--quiet", "--flush", "--return", "--command", command, "/dev/null"])
  end

  # It ends with the test: its input is closed.
  defp open(command, args, env \\ []) do
    env = for {name, value} <- env, do: {to_charlist(name), to_charlist(value)}
    options = [:binary, :exit_status, :stderr_to_stdout, args: args, env: env]
    Port.open({:spawn_executable, System.find_executable(command)}, options)
  end

  defp read_until(port, text, read \\ "") do
    if String.contains?(read, text) do
      read
    else
      receive do
        {^port, {:data, data}} -> read_until(port, text, read <> data)
        {^port, {:exit_status, status}} -> flunk("ended with #{status}: #{read}")
      after
        within() -> flunk("no #{inspect(text)} in: #{inspect(read)}")
      end
    end
  end
end
