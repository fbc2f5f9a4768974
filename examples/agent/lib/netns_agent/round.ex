defmodule NetnsAgent.Round do
  @moduledoc """
  Scrapes many namespaces, each in a process of its own, a bounded number at once, and keeps what
  comes out. One that crashes, hangs or fills its memory is one sample with an error.
  """

  require Logger

  alias NetnsAgent.{Config, Namespace, Sample, Scrape, Store}

  # The scrape keeps to its timeout by itself, unless it is broken.
  @grace 500

  # Words, 32 MB. A reading of a thousand interfaces takes a fiftieth of that.
  @max_heap 4_000_000

  @type scrape ::
          (Namespace.t(), Config.t() ->
             {:ok, Scrape.reading()} | :gone | {:error, Scrape.error()})

  @doc "Returns when every one of them has its sample."
  @spec run([Namespace.t()], Config.t(), scrape()) :: :ok
  def run(namespaces, config, scrape) do
    options = [
      max_concurrency: config.concurrency,
      timeout: config.scrape_timeout + @grace,
      on_timeout: :kill_task,
      ordered: false,
      zip_input_on_exit: true
    ]

    NetnsAgent.Tasks
    |> Task.Supervisor.async_stream_nolink(namespaces, &scrape(&1, config, scrape), options)
    |> Enum.each(fn
      {:ok, _} -> :ok
      {:exit, {namespace, reason}} -> keep(namespace, {:error, exited(reason)}, 0)
    end)
  end

  defp scrape(namespace, config, scrape) do
    Process.flag(:max_heap_size, %{size: @max_heap, kill: true, error_logger: true})
    started = System.monotonic_time(:microsecond)
    result = scrape.(namespace, config)
    keep(namespace, result, System.monotonic_time(:microsecond) - started)
  end

  defp keep(_namespace, :gone, _took), do: :ok

  defp keep(namespace, result, took) do
    with {:ok, {_namespace, before}} <- Store.fetch(namespace.id) do
      at = System.monotonic_time(:millisecond)
      Store.put_sample(namespace, sample(before, result, at, took))
    end

    Store.count(:scrapes)
    with {:error, {kind, _text}} <- result, do: Store.count({:failures, kind})
    :ok
  end

  defp sample(before, {:ok, reading}, at, took), do: Sample.read(before, reading, at, took)
  defp sample(before, {:error, error}, at, took), do: Sample.failed(before, error, at, took)

  defp exited(:timeout), do: {:timeout, "the scrape did not end in time and was killed"}

  defp exited(reason) do
    Logger.error("netns_agent: a scrape ended with " <> Exception.format_exit(reason))
    {:crash, "the scrape crashed"}
  end
end
