defmodule NetnsAgent.Test.Browser do
  @moduledoc "Debian's chromium, headless, with a profile of its own that is thrown away."

  @options ~w(--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
              --disable-background-networking --disable-component-update --disable-sync
              --hide-scrollbars)

  @doc "The document as it is after `ms` of life in the browser."
  def dom(url, ms), do: run(["--dump-dom", "--virtual-time-budget=#{ms}", url])

  def screenshot(url, file), do: run(["--window-size=1280,1000", "--screenshot=#{file}", url])

  defp run(arguments) do
    profile = Path.join(System.tmp_dir!(), "netns-agent-browser-#{System.pid()}")
    log = profile <> ".log"
    command = ["chromium", "--user-data-dir=#{profile}" | @options ++ arguments]
    # Its complaints about missing desktop services are not part of the document.
    script = ~S(log=$1; shift; exec timeout 60 "$@" 2>"$log")

    try do
      {output, 0} = System.cmd("sh", ["-c", script, "sh", log | command])
      output
    after
      File.rm_rf!(profile)
      File.rm(log)
    end
  end
end
