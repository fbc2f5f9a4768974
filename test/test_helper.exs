Logger.configure(level: :warning)

# Short, so that after each test helpers are soon back from where they were.
Nlns.NetnsCase.start_with(idle_timeout: 50)

# Long, because what is waited for comes, however busy the machine is.
ExUnit.start(
  exclude: Nlns.LeftOut.exclude(Nlns.Netns.check()),
  formatters: [ExUnit.CLIFormatter, Nlns.Failures, Nlns.LeftOut],
  capture_log: true,
  assert_receive_timeout: Nlns.Patience.within(),
  timeout: Nlns.Patience.within(180_000)
)
