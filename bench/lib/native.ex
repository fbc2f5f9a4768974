defmodule Bench.Native do
  @moduledoc "Stubs of native/nlns_bench, which answers like nlns: `{:ok, fd}` or `{:error, {stage, errno}}`."

  @on_load :load

  def load do
    "NLNS_BENCH_BUILD"
    |> System.fetch_env!()
    |> Path.join("libnlns_bench")
    |> String.to_charlist()
    |> :erlang.load_nif(0)
  end

  @doc "On the scheduler, in the VM's own namespace."
  def floor(_protocol), do: stub()

  @doc "On the scheduler: there, socket, back."
  def in_place(_path, _protocol), do: stub()

  @doc "On a thread of its own, joined on a dirty I/O scheduler."
  def throwaway(_path, _protocol), do: stub()

  @doc "On the scheduler: there, socket, a dump, back. Answers `{:ok, messages}`, encoded."
  def exchange(_path, _protocol, _request), do: stub()

  @doc "Closes a descriptor that one of these has answered."
  def close(_fd), do: stub()

  @doc "CPU time of the whole process so far, in ns."
  def cpu_time, do: stub()

  defp stub, do: :erlang.nif_error(:not_loaded)
end
