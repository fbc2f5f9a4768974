defmodule Nlns.Application do
  @moduledoc false
  # The pool has no process: its threads begin with the application and are gone when its stop returns.

  use Application

  alias Nlns.{Config, Library, Native, Telemetry}

  # The pool gives up on stuck threads after 4 s. This limit is for a machine that is slower than that.
  @stop_timeout 10_000

  # One process reports helpers to `:telemetry`, where that is loaded. The application must not end with it
  # however often it ends, so restarts are practically unlimited. The supervisor has no name: a name would keep
  # an application that was killed from starting again until its supervisor has ended too.
  @supervisor [strategy: :one_for_one, max_restarts: 1_000]

  @impl true
  def start(_type, _args) do
    config = Config.read!()

    with {:error, {found, way_out}} <- Library.load() do
      raise "nlns cannot load its native library: #{found}; #{way_out}"
    end

    # Now, because a VM that has run out of descriptors cannot load a module.
    children = if Telemetry.look_up(), do: [Telemetry.Helpers], else: []

    case Native.start(config.max_helpers, config.idle_timeout, config.max_queue) do
      :ok -> Supervisor.start_link(children, @supervisor)
      {:error, errno} -> {:error, {:thread, errno}}
    end
  end

  @impl true
  def stop(_state) do
    ref = make_ref()

    with :pending <- Native.stop(ref) do
      receive do
        {:nlns, ^ref, {:stopped, stuck, manager}} ->
          if stuck > 0,
            do: warn("#{stuck} thread(s) are blocked in the kernel and stay until it lets go")

          await_end(manager, 1_000)
      after
        @stop_timeout -> warn("the pool has not ended within #{@stop_timeout} ms")
      end
    end

    :ok
  end

  # The manager sends its last message a moment before its thread ends. This asks the kernel, because /proc may
  # number threads differently.
  defp await_end(thread, tries) do
    if tries > 0 and Native.thread_exists(thread) do
      receive do
      after
        1 -> await_end(thread, tries - 1)
      end
    end
  end

  defp warn(text) do
    require Logger
    Logger.warning("nlns: " <> text)
  end
end
