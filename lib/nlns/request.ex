defmodule Nlns.Request do
  @moduledoc """
  A request that is under way; see `Nlns.open_async/5`.

  `ref` is the reference in the one message that answers it. Only `owner`, the process that made the
  request, can `Nlns.await/2` or `Nlns.cancel/1` it. The other fields are private.
  """
  @moduledoc since: "0.1.0"

  alias Nlns.{Close, Native, Telemetry}

  @etimedout 110

  @enforce_keys [:ref, :owner, :resource]
  defstruct @enforce_keys ++ [:netns, timeout: 5_000]

  @type t :: %__MODULE__{
          ref: reference(),
          owner: pid(),
          # nil for a request that was refused at once
          resource: reference() | nil,
          # what Nlns.Native.open/5 takes, to tell of a refusal
          netns: binary() | pos_integer() | nil,
          # how long Nlns.await/1 waits
          timeout: timeout()
        }

  @typep netns :: binary() | pos_integer()
  @typep submit :: (reference() -> {:ok, Native.resource()} | {:error, term()})

  # Hands a request to the pool by `submit`, and leaves the answer to the mailbox.
  @doc false
  @spec start(netns(), timeout(), submit()) :: t()
  def start(netns, timeout, submit) do
    ref = make_ref()

    resource =
      case submit.(ref) do
        {:ok, resource} ->
          resource

        {:error, reason} ->
          send(self(), {:nlns, ref, failed(netns, reason)})
          nil
      end

    %__MODULE__{ref: ref, owner: self(), netns: netns, timeout: timeout, resource: resource}
  end

  # Hands a request to the pool by `submit`, and waits for the answer, or for the descriptor that it returned.
  # One function makes the reference, passes it on and receives only messages with it. Only then does the VM
  # skip older messages.
  @doc false
  @spec run(netns(), timeout(), submit()) :: {:ok, term()} | {:error, term()}
  def run(netns, timeout, submit) do
    ref = make_ref()

    case submit.(ref) do
      {:ok, resource} ->
        receive do
          {:nlns, ^ref, :ok} -> {:ok, resource}
          {:nlns, ^ref, {:ok, _} = answer} -> answer
          {:nlns, ^ref, {:error, reason}} -> failed(netns, reason)
        after
          timeout -> cancel_after_timeout(ref, resource)
        end

      {:error, reason} ->
        failed(netns, reason)
    end
  end

  @doc false
  @spec await(t(), timeout()) :: {:ok, term()} | {:error, term()}
  def await(%__MODULE__{ref: ref} = request, timeout) do
    receive do
      {:nlns, ^ref, answer} -> answered(request, answer)
    after
      timeout -> cancel_after_timeout(ref, request.resource)
    end
  end

  # Reports a refusal to telemetry. A request that was refused at once has been reported already.
  @doc false
  @spec answered(t(), answer) :: answer when answer: {:ok, term()} | {:error, term()}
  def answered(%{resource: resource, netns: netns}, {:error, reason}) when resource != nil,
    do: failed(netns, reason)

  def answered(_request, answer), do: answer

  defp failed(netns, reason) do
    Telemetry.failed(netns, reason)
    {:error, reason}
  end

  @doc false
  @spec cancel_after_timeout(reference(), Native.resource() | nil) ::
          {:error, {:thread, integer()}}
  def cancel_after_timeout(ref, resource) do
    cancel(ref, resource)
    {:error, {:thread, @etimedout}}
  end

  # A request that was refused at once: its message was sent before the request was returned.
  @doc false
  @spec cancel(reference(), Native.resource() | nil) :: :ok
  def cancel(ref, nil), do: flush(ref)

  def cancel(ref, resource) do
    case Close.cancel(resource) do
      :before -> :ok
      :during -> await_sent(ref, resource)
      :after -> flush(ref)
    end
  end

  # The helper has decided to answer and has not sent the message yet.
  defp await_sent(ref, resource) do
    receive do
      {:nlns, ^ref, _} -> :ok
    after
      1 -> if Native.is_sent(resource), do: flush(ref), else: await_sent(ref, resource)
    end
  end

  defp flush(ref) do
    receive do
      {:nlns, ^ref, _} -> :ok
    after
      0 -> :ok
    end
  end

  defimpl Inspect do
    def inspect(%{ref: ref}, _opts), do: "#Nlns.Request<#{Kernel.inspect(ref)}>"
  end
end
