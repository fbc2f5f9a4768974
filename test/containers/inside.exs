# nlns in a container, as guides/containers.md has it run: scripts/test-containers.
#
#     inside.exs PID DIRECTORY
#
# PID is a process of the machine, which has made /run/netns/before. DIRECTORY is shared with it: once there is
# `ready`, it makes the name `after`, and then `made`; once there is `opened` it deletes both, and then `deleted`.
# Prints what each answers: "ok", or the reason.
alias Nlns.Rtnetlink

[pid, directory] = System.argv()
Logger.configure(level: :error)
Application.put_env(:nlns, :idle_timeout, :infinity)
{:ok, _} = Application.ensure_all_started(:nlns)

# Each of the places has an interface of this name.
answer = fn place ->
  with {:ok, socket} <- Nlns.open_socket(place, :netlink, :raw, 0) do
    inside = "nlns-inside" in Rtnetlink.links(socket)
    :ok = :socket.close(socket)
    if inside, do: :ok, else: :elsewhere
  else
    {:error, reason} -> reason
  end
end

meet = fn mine, others ->
  File.write!(Path.join(directory, mine), "")

  Stream.repeatedly(fn ->
    File.exists?(Path.join(directory, others)) || Process.sleep(20) == :never
  end)
  |> Stream.take(1_000)
  |> Enum.any?() || raise "the machine does not answer"
end

IO.puts("pid #{inspect(answer.({:pid, String.to_integer(pid)}))}")
IO.puts("path #{inspect(answer.("/host/proc/#{pid}/ns/net"))}")
IO.puts("before #{inspect(answer.({:name, "before"}))}")
meet.("ready", "made")
IO.puts("after #{inspect(answer.({:name, "after"}))}")
meet.("opened", "deleted")
IO.puts("deleted #{inspect(answer.({:name, "after"}))}")
IO.puts("doctor #{inspect(Nlns.Doctor.report())}")
