defmodule Bench.W7 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Contender, Measure, Namespaces, Requirement, Rounds}

  @samples %{full: 3_000, quick: 400}

  @impl true
  def title, do: "a :socket in the namespace, open to close"

  @impl true
  def run(size) do
    contenders = [nlns(), Contender.otp(), Contender.otp_unregistered()]

    rows =
      Namespaces.with_new(1, fn paths ->
        Rounds.run(size, for(contender <- contenders, do: measurement(contender, paths, size)))
      end)

    pair = {{"nlns", nil}, {"otp", nil}}
    requirements = [Requirement.ratio(rows, "p50, nlns / otp", :p50, pair, {:at_most, 0.8})]
    %{rows: rows, requirements: requirements, plot: :latency}
  end

  defp nlns do
    open_close = fn path ->
      %Nlns.Request{ref: ref} = Nlns.open_in_netns_async(path, 0)

      receive do
        {:nlns, ^ref, {:ok, handle}} ->
          {:ok, socket} = Nlns.Handle.to_socket(handle)
          :ok = :socket.close(socket)
      end
    end

    %{Contender.nlns() | open_close: open_close}
  end

  defp measurement(contender, paths, size) do
    arguments = Contender.arguments(contender, paths)
    measure = fn -> Measure.latencies(contender.open_close, arguments, @samples[size]) end
    {{contender.name, nil}, measure}
  end
end
