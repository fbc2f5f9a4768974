defmodule Nlns.Error do
  @moduledoc """
  A failed step as an exception: what the functions that end in `!` raise.

    * `stage` is the step that failed (`t:stage/0`)
    * `errno` is its errno(3), a number
    * `reason` is the same as a posix atom (`:enoent`), `:unknown` if the number has no name
    * `details` is what else `t:Nlns.Netlink.reason/0` has for the stage `:netlink`, else empty

  Its message is the sentence of `Nlns.format_error/1`.

      iex> Nlns.open_fd!("/nowhere", :inet, :dgram, :udp)
      ** (Nlns.Error) opening the namespace file: No such file or directory (ENOENT): nothing has this path, or the process behind it has ended
  """
  @moduledoc since: "0.1.0"

  alias Nlns.Errno
  alias Nlns.Error.Hints

  @typedoc """
  The stages of an open; `:send`, `:receive` and `:netlink` of `Nlns.Netlink`; `:bind` of `Nlns.bind_netlink!/2`; and `:handle` of `Nlns.Handle.to_fd!/1`
  and `Nlns.Handle.to_socket!/1`, whose handle has no descriptor any more.
  """
  @type stage :: Nlns.stage() | :bind | :handle | :send | :receive | :netlink

  @type t :: %__MODULE__{stage: stage(), errno: integer(), reason: atom(), details: map()}

  @steps %{
    open: "opening the namespace file",
    setns: "entering the namespace",
    socket: "making the socket",
    thread: "asking a helper",
    send: "sending the netlink request",
    receive: "receiving the netlink answer",
    bind: "binding the socket",
    handle: "taking the descriptor out of its handle"
  }

  defexception [:stage, :errno, :reason, details: %{}]

  @doc "Makes the exception of a reason, `{stage, errno}`."
  @doc since: "0.1.0"
  @impl true
  @spec exception({stage(), integer()} | Nlns.Netlink.reason()) :: t()
  def exception({:netlink, errno, details}) when is_integer(errno) and is_map(details) do
    %__MODULE__{stage: :netlink, errno: errno, reason: Errno.atom(errno), details: details}
  end

  def exception({stage, errno}) when is_map_key(@steps, stage) and is_integer(errno) do
    %__MODULE__{stage: stage, errno: errno, reason: Errno.atom(errno)}
  end

  @doc "Returns the sentence of `Nlns.format_error/1`."
  @doc since: "0.1.0"
  @impl true
  @spec message(t()) :: String.t()
  def message(%__MODULE__{stage: :netlink} = error),
    do: format({:netlink, error.errno, error.details})

  def message(%__MODULE__{stage: stage, errno: errno}), do: format({stage, errno})

  @doc false
  @spec format(Nlns.Netlink.reason() | {stage(), integer()}) :: String.t()
  def format({:netlink, errno, details}) when is_integer(errno) do
    text = "the kernel refused the netlink request: #{Errno.words(errno)}"
    text = if details[:message], do: "#{text}: #{details.message}", else: text
    if details[:offset], do: "#{text} (at byte #{details.offset} of the request)", else: text
  end

  def format({stage, errno} = reason) when is_map_key(@steps, stage) and is_integer(errno) do
    text = "#{@steps[stage]}: #{Errno.words(errno)}"

    case Hints.hint(reason) do
      nil -> text
      hint -> text <> ": " <> hint
    end
  end

  def format(reason) do
    raise ArgumentError, "expected {stage, errno}, got: #{inspect(reason)}"
  end

  # What the functions that end in `!` do with the answer of their namesakes.
  @doc false
  @spec ok!({:ok, value} | {:error, {stage(), integer()} | Nlns.Netlink.reason()}) :: value
        when value: term()
  def ok!({:ok, value}), do: value
  def ok!({:error, reason}), do: raise(__MODULE__, reason)
end
