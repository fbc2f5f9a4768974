defmodule NetnsAgent.Check do
  @moduledoc """
  Whether a TCP port answers, asked from inside a namespace: also one that listens on its loopback only.
  """

  alias NetnsAgent.Namespace

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

  @enoent 2
  @etimedout 110

  @doc """
  Connects, and closes at once.

    * `address` - where to, in the namespace; default `{127, 0, 0, 1}`
    * `timeout` - ms for all of it; default 1,000
  """
  @spec run(Namespace.t(), :inet.port_number(), keyword()) :: t()
  def run(%Namespace{places: places}, port, options) do
    address = Keyword.get(options, :address, {127, 0, 0, 1})
    started = System.monotonic_time(:microsecond)
    deadline = started + Keyword.get(options, :timeout, 1_000) * 1_000

    {result, text} = places |> connect(address, port, deadline) |> result()
    took = System.monotonic_time(:microsecond) - started
    %__MODULE__{result: result, took: took, text: text}
  end

  defp connect([place | others], address, port, deadline) do
    family = if tuple_size(address) == 4, do: :inet, else: :inet6

    case Nlns.open_socket(place, family, :stream, :tcp, timeout: left(deadline)) do
      {:ok, socket} ->
        try do
          to = %{family: family, addr: address, port: port}
          :socket.connect(socket, to, left(deadline))
        after
          :socket.close(socket)
        end

      {:error, {:open, @enoent}} when others != [] ->
        connect(others, address, port, deadline)

      {:error, reason} ->
        {:error, reason}
    end
  end

  defp left(deadline), do: max(div(deadline - System.monotonic_time(:microsecond), 1_000), 0)

  defp result(:ok), do: {:open, nil}
  defp result({:error, :econnrefused}), do: {:refused, nil}
  defp result({:error, :timeout}), do: {:timeout, nil}
  defp result({:error, :etimedout}), do: {:timeout, nil}
  defp result({:error, {:thread, @etimedout}}), do: {:timeout, nil}
  defp result({:error, {stage, errno}}), do: {:error, Nlns.format_error({stage, errno})}
  defp result({:error, reason}), do: {:error, to_string(:inet.format_error(reason))}
end
