{:ok, _} = Application.ensure_all_started(:nlns)

# Agents start and stop all the time here.
Logger.configure(level: :error)

{uid, 0} = System.cmd("id", ["-u"])

if uid != "0\n" do
  Mix.raise("the tests make network namespaces: run them as root, or as README.md says without")
end

# What takes more than the namespaces has a check of its own, which asks for it.
ExUnit.start(
  capture_log: true,
  assert_receive_timeout: NetnsAgent.Test.AgentCase.patience(),
  exclude: [:browser, :promtool, :demo]
)

wanted =
  for {tag, program} <- [browser: "chromium", promtool: "promtool"],
      tag in ExUnit.configuration()[:include],
      do: program

case Enum.reject(~w(ip mount unshare) ++ wanted, &System.find_executable/1) do
  [] ->
    :ok

  missing ->
    Mix.raise(
      "not installed: #{Enum.join(missing, ", ")}; in the project's root, `scripts/setup browser` installs them"
    )
end
