defmodule Nlns.LongSchedule do
  @moduledoc "Which closes kept a scheduler for long, as `:erlang.system_monitor/2` tells."

  import Nlns.Patience
  alias Nlns.Proc

  # In ms. A close that waits in the kernel takes several.
  @limit 1

  @doc """
  Returns whether no scheduler was kept busy by `fun`, in one of several tries.

  A busy machine takes the processor away from a scheduler now and then, which looks the same. A close that is
  slow by itself is slow each time.
  """
  @spec none?((() -> any())) :: boolean()
  def none?(fun), do: Enum.any?(1..within(20), fn _ -> times(fun) == [] end)

  @doc """
  Returns for how many ms schedulers were kept by `fun`, which a process of its own runs, and by the closing
  of what it leaves open when it ends.
  """
  @spec times((() -> any())) :: [pos_integer()]
  def times(fun) do
    before = Proc.sockets()
    monitored = :erlang.system_monitor(self(), [{:long_schedule, @limit}])
    {pid, monitor} = spawn_monitor(fun)

    receive do
      {:DOWN, ^monitor, _, ^pid, reason} when reason in [:normal, :killed] -> :ok
    end

    await_closed(before, within(1_000))

    # A number is free before the close is over. Schedulers are blocked only once they are done with it.
    :erlang.system_flag(:multi_scheduling, :block_normal)
    :erlang.system_flag(:multi_scheduling, :unblock_normal)
    :erlang.system_monitor(monitored)
    received([])
  end

  defp await_closed(before, tries) when tries > 0 do
    if Proc.sockets() > before do
      Process.sleep(1)
      await_closed(before, tries - 1)
    end
  end

  # This process looks for long itself.
  defp received(times) do
    receive do
      {:monitor, pid, :long_schedule, _info} when pid == self() -> received(times)
      {:monitor, _pid_or_port, :long_schedule, info} -> received([info[:timeout] | times])
    after
      0 -> times
    end
  end
end
