defmodule NetnsAgent.Check do
  @moduledoc "Whether a TCP port answers, asked from inside a namespace: also one that listens on its loopback only."

  alias NetnsAgent.{Discovery.Namespace, Text}

  defstruct [:result, :took, :text]

  @typedoc """
  `:open`, `:refused` (nothing listens there), `:timeout` (no answer: a filter, a host that is not
  there) or `:error`, with why in `text`; `took` in µs.
  """
  @type t :: %__MODULE__{
          result: :open | :refused | :timeout | :error,
          took: non_neg_integer(),
          text: String.t() | nil
        }

  @doc "Connects to `address` in the namespace (127.0.0.1), within `timeout` ms (1,000), and closes at once."
  @spec run(Namespace.t(), :inet.port_number(), keyword()) :: t()
  def run(namespace, port, options) do
    address = Keyword.get(options, :address, {127, 0, 0, 1})
    timeout = Keyword.get(options, :timeout, 1_000)

    {took, answer} =
      :timer.tc(fn -> connect(Namespace.path(namespace), address, port, timeout) end)

    {result, text} = result(answer)
    %__MODULE__{result: result, took: took, text: text}
  end

  defp connect(path, address, port, timeout) do
    family = if tuple_size(address) == 4, do: :inet, else: :inet6
    deadline = now() + timeout

    with {:ok, socket} <- Nlns.open_socket(path, family, :stream, :tcp, timeout: timeout) do
      to = %{family: family, addr: address, port: port}
      answer = :socket.connect(socket, to, max(deadline - now(), 0))
      :socket.close(socket)
      answer
    end
  end

  defp now, do: System.monotonic_time(:millisecond)

  defp result(:ok), do: {:open, nil}
  defp result({:error, :econnrefused}), do: {:refused, nil}
  defp result({:error, e}) when e in [:timeout, :etimedout, {:thread, 110}], do: {:timeout, nil}
  defp result({:error, {_, _} = reason}), do: {:error, Text.readable(Nlns.format_error(reason))}
  defp result({:error, reason}), do: {:error, to_string(:inet.format_error(reason))}
end
