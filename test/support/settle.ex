defmodule Nlns.Settle do
  @moduledoc "Has helpers sleep in namespaces. That one has settled is an event."

  import Nlns.Patience

  alias Nlns.Native

  @doc "Opens in each of these paths until a helper sleeps in each. Only where helpers stay for ever."
  @spec pin([Path.t()]) :: :ok
  def pin(paths) do
    # The process that asks for events gets a message when there are more. This one ends then.
    Task.await(Task.async(fn -> pin_missing(paths) end), :infinity)
  end

  @doc "Opens in a path where no helper is, until one has settled there."
  @spec settle(Path.t()) :: :ok
  def settle(path), do: Task.await(Task.async(fn -> open_and_settle(path) end), :infinity)

  defp pin_missing(paths) do
    missing = paths -- for(%{path: path} <- Nlns.info().helpers, do: path)

    Enum.each(missing, &open_and_settle/1)
    if missing == [], do: :ok, else: pin_missing(paths)
  end

  defp open_and_settle(path) do
    drain()
    {:ok, fd} = Nlns.open_in_netns(path, 0)
    Nlns.close_fd(fd)
    await_pinned(path)
    # For a millisecond after it fell asleep it is the first to be woken, wherever it is.
    Process.sleep(2)
    :ok
  end

  # Events are kept from the first call on.
  defp drain do
    if Native.events() != [], do: drain()
  end

  defp await_pinned(path) do
    case Native.events() do
      [] ->
        receive do
          {:nlns, :events} -> await_pinned(path)
        after
          within() -> raise "no helper has settled in #{path}"
        end

      events ->
        unless Enum.any?(events, &match?({:pinned, _helper, ^path, _count}, &1)),
          do: await_pinned(path)
    end
  end
end
