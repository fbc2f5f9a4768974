Logger.configure(level: :warning)

case Nlns.Netns.check() do
  :ok ->
    :ok

  {:error, missing} ->
    Mix.raise("""
    the tests make network namespaces, and here that is not possible: #{missing}
    Run them as root, or as a plain user in namespaces of their own:

        unshare -Urnm sh -c 'mount -t tmpfs none /run && mkdir /run/netns && mix test'
    """)
end

# Short, so that after each test helpers are soon back from where they were.
Nlns.NetnsCase.start_with(idle_timeout: 50)

# Long, because what is waited for comes, however busy the machine is.
ExUnit.start(
  capture_log: true,
  assert_receive_timeout: Nlns.Patience.within(10_000),
  timeout: Nlns.Patience.within(60_000)
)
