defmodule Nlns.Error do
  @moduledoc """
  A failed step as an exception: what the functions that end in `!` raise.

    * `stage` is the step that failed (`t:stage/0`)
    * `errno` is its errno(3), a number
    * `reason` is the same as a posix atom (`:enoent`), `:unknown` if the number has no name
    * `details` is what else `t:Nlns.Netlink.reason/0` has for the stage `:netlink`, else empty

  Its message is the sentence of `Nlns.format_error/1`.

      iex> Nlns.open_fd!(String.duplicate("x", 5_000), :inet, :dgram, :udp)
      ** (Nlns.Error) opening the namespace file: File name too long (ENAMETOOLONG): the path is longer than 4,095 bytes, or a part of it than 255
  """
  @moduledoc since: "0.1.0"

  alias Nlns.{Errno, Printable}
  alias Nlns.Error.{Cause, Hints, Look}

  @typedoc """
  The stages of an open.

  Besides: `:send`, `:receive` and `:netlink` (the kernel's own answer) of `Nlns.Netlink`; `:bind` of
  `Nlns.bind_netlink!/2`; and `:handle` of `Nlns.Handle.to_fd!/1` and `Nlns.Handle.to_socket!/1`, whose
  handle has no descriptor any more.
  """
  @type stage :: Nlns.stage() | :send | :receive | :netlink | :bind | :handle

  @typedoc "A failed step and its errno, or the kernel's own answer to a netlink request."
  @type reason :: {stage(), integer()} | Nlns.Netlink.reason()

  @type t :: %__MODULE__{stage: stage(), errno: integer(), reason: atom(), details: map()}

  @steps %{
    open: "opening the namespace file",
    setns: "entering the namespace",
    socket: "making the socket",
    thread: "asking a helper",
    send: "sending the netlink request",
    receive: "receiving the netlink answer",
    netlink: "the kernel refused the netlink request",
    bind: "binding the socket",
    handle: "taking the descriptor out of its handle"
  }

  defexception [:stage, :errno, :reason, details: %{}]

  defguardp is_reason(stage, errno) when is_map_key(@steps, stage) and is_integer(errno)

  @doc "Makes the exception of a reason."
  @doc since: "0.1.0"
  @impl true
  @spec exception(reason()) :: t()
  def exception({stage, errno}) when is_reason(stage, errno),
    do: %__MODULE__{stage: stage, errno: errno, reason: Errno.atom(errno)}

  def exception({:netlink, errno, %{} = details}) when is_integer(errno),
    do: %{exception({:netlink, errno}) | details: details}

  @doc "Returns the sentence of `Nlns.format_error/1`."
  @doc since: "0.1.0"
  @impl true
  @spec message(t()) :: String.t()
  def message(%__MODULE__{stage: :netlink} = error),
    do: format({:netlink, error.errno, error.details})

  def message(%__MODULE__{stage: stage, errno: errno}), do: format({stage, errno})

  @doc false
  @spec format(reason()) :: String.t()
  def format({:netlink, errno, %{} = details}) when is_integer(errno) do
    said = with text when is_binary(text) <- details[:message], do: ": " <> Printable.escape(text)
    "#{sentence({:netlink, errno}, nil)}#{said}#{at(details[:offset], details[:index])}"
  end

  def format(reason), do: sentence(reason, &Hints.hint/1)

  @doc false
  @spec format(reason(), Nlns.netns()) :: String.t()
  def format({stage, errno} = reason, netns) when is_reason(stage, errno) do
    look = Look.at(stage, netns)
    sentence(reason, &(Cause.of(&1, look) || Hints.hint(&1)))
  end

  def format(reason, netns) do
    _ = Nlns.Spec.netns!(netns)
    format(reason)
  end

  defp sentence({stage, errno} = reason, hint) when is_reason(stage, errno) do
    text = "#{@steps[stage]}: #{Errno.words(errno)}"
    hint = hint && hint.(reason)
    if hint, do: "#{text}: #{hint}", else: text
  end

  defp sentence(reason, _hint) do
    raise ArgumentError, "expected {stage, errno}, got: #{inspect(reason)}"
  end

  defp at(offset, index) when is_integer(offset), do: " (at byte #{offset} of #{which(index)})"
  defp at(nil, index) when is_integer(index) and index > 0, do: " (#{which(index)})"
  defp at(_offset, _index), do: ""

  # Of a list, which begins at 0.
  defp which(index) when is_integer(index) and index > 0, do: "request #{index}"
  defp which(_index), do: "the request"

  # What the functions that end in `!` do with the answer of their namesakes.
  @doc false
  @spec ok!({:ok, value} | {:error, reason()}) :: value when value: term()
  def ok!({:ok, value}), do: value
  def ok!({:error, reason}), do: raise(__MODULE__, reason)
end
