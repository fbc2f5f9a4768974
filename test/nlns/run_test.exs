defmodule Nlns.RunTest do
  # How a run of these tests ends: what it left out, and what failed, by ExUnit in a VM of its own.
  use ExUnit.Case, async: true

  alias Nlns.{Failures, LeftOut}

  @suite """
  ExUnit.start(
    exclude: Nlns.LeftOut.exclude({:error, "no reason"}),
    formatters: [ExUnit.CLIFormatter, Nlns.Failures, Nlns.LeftOut]
  )

  defmodule Suite do
    use ExUnit.Case
    test "needs nothing", do: :ok
    @tag netns: true
    test "needs a namespace", do: flunk("it was run")
    if System.get_env("FAIL") do
      test "is wrong", do: assert(1 == 2)
    end
  end
  """

  test "left out tests are counted, at the start and at the end" do
    {output, 0} = run(%{"CI" => nil})

    assert output =~
             ~r/\ALEFT OUT: every test that needs network namespaces, because of no reason\n/

    assert output =~
             ~r/\nLEFT OUT: 1 tests .* because of no reason\nRun them .*\n\n +scripts.*\n\z/

    refute output =~ "FAILED"
  end

  test "left out tests fail in CI" do
    {output, 1} = run(%{"CI" => "true"})
    assert output =~ ~r/2 tests, 0 failures, 1 excluded\n/
    assert output =~ ~r/\n\nWith CI=true that is a failure.\n\z/
  end

  test "each failure is one of the last lines" do
    {output, 2} = run(%{"CI" => nil, "FAIL" => "1"})

    assert output =~
             ~r/\nFAILED \S+:\d+ test is wrong: Assertion with == failed code: .* left: 1 right: 2\n\z/
  end

  test "nothing left out is nothing said" do
    assert LeftOut.exclude(:ok) == []
    assert LeftOut.ending(0, "a reason", "true") == {"", 0}
    assert LeftOut.ending(1, nil, "true") == {"", 0}
  end

  test "error of several lines is one line that is not too long" do
    error = RuntimeError.exception("first\n  second\n" <> String.duplicate("x", 1_000))
    tags = %{file: Path.absname("test/x_test.exs"), line: 7}
    line = Failures.line(tags, :"test x", [{:error, error, []}])
    assert line =~ ~r/^FAILED test\/x_test.exs:7 test x: \*\* \(RuntimeError\) first second x+\n$/
    assert String.length(line) < 400
  end

  defp run(env) do
    ebin = Application.app_dir(:nlns, "ebin")
    System.cmd("elixir", ["-pa", ebin, "-e", @suite], env: env, stderr_to_stdout: true)
  end
end
