defmodule NetnsAgent.Check do
  @moduledoc "Whether a TCP port answers, asked from inside a namespace: also one that listens on its loopback only."

  alias NetnsAgent.{Discovery.Namespace, Text}

  @enforce_keys [:result, :took]
  defstruct [:result, :took, text: nil]

  @typedoc """
  `:open`, `:refused` (nothing listens there), `:timeout` (no answer: a filter, a host that is not
  there) or `:error`, with why in `text`; `took` in µs.
  """
  @type t :: %__MODULE__{
          result: :open | :refused | :timeout | :error,
          took: non_neg_integer(),
          text: String.t() | nil
        }

  @doc """
  Connects, and closes at once.

    * `address` - where to, in the namespace; default `{127, 0, 0, 1}`
    * `timeout` - ms for all of it; default 1,000
  """
  @spec run(Namespace.t(), :inet.port_number(), keyword()) :: t()
  def run(%Namespace{paths: paths}, port, options) do
    address = Keyword.get(options, :address, {127, 0, 0, 1})
    started = System.monotonic_time(:microsecond)
    deadline = started + Keyword.get(options, :timeout, 1_000) * 1_000

    {result, text} = paths |> connect(address, port, deadline) |> result()
    %__MODULE__{result: result, took: System.monotonic_time(:microsecond) - started, text: text}
  end

  defp connect([path | others], address, port, deadline) do
    family = if tuple_size(address) == 4, do: :inet, else: :inet6

    case Nlns.open_socket(path, family, :stream, :tcp, timeout: left(deadline)) do
      {:ok, socket} ->
        try do
          :socket.connect(socket, %{family: family, addr: address, port: port}, left(deadline))
        after
          :socket.close(socket)
        end

      # ENOENT: this process has ended, and another may still be in there.
      {:error, {:open, 2}} when others != [] ->
        connect(others, address, port, deadline)

      error ->
        error
    end
  end

  defp left(deadline), do: max(div(deadline - System.monotonic_time(:microsecond), 1_000), 0)

  defp result(:ok), do: {:open, nil}
  defp result({:error, :econnrefused}), do: {:refused, nil}
  defp result({:error, timeout}) when timeout in [:timeout, :etimedout], do: {:timeout, nil}
  defp result({:error, {:thread, 110}}), do: {:timeout, nil}
  defp result({:error, {_, _} = reason}), do: {:error, Text.readable(Nlns.format_error(reason))}
  defp result({:error, reason}), do: {:error, to_string(:inet.format_error(reason))}
end
