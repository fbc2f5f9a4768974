{:ok, _} = Application.ensure_all_started(:nlns)

# Agents start and stop all the time here.
Logger.configure(level: :error)

{uid, 0} = System.cmd("id", ["-u"])

if uid != "0\n" do
  Mix.raise("the tests make network namespaces: run them as root, or as README.md says without")
end

missing = Enum.reject(~w(ip mount unshare promtool chromium), &System.find_executable/1)

setup =
  "in the project's root, `scripts/setup checks` installs them; `make check-agent` runs the tests with them"

# What cannot be tested is a failure unless that is asked for: `mix test --exclude promtool`.
if missing != [] do
  IO.puts(:stderr, """

  *** NOT INSTALLED: #{Enum.join(missing, ", ")}. The tests that need it will FAIL.
  *** #{setup}
  *** To do without: mix test --exclude promtool --exclude browser
  """)
end

ExUnit.start(capture_log: true)
