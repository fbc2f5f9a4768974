defmodule Bench.Dump do
  @moduledoc """
  The ways to ask for the links in a namespace that the workloads compare: `RTM_GETLINK`, rtnetlink(7), the
  whole answer as messages.

  Each asserts how many there are, so that a contender that reads a part of the answer is never a fast one.
  """

  alias Bench.{Contender, Native}
  alias Nlns.Netlink
  alias Nlns.Netlink.Message

  @af_netlink 16
  @route 0
  # lo and a pair; see `Bench.Namespaces.with_links/2`.
  @links 3

  def all, do: [nlns(), open_socket(), otp(), in_place()]

  @doc "As shipped."
  def nlns do
    new("nlns", fn path ->
      {:ok, [_, _, _]} = Netlink.execute(path, :route, request())
    end)
  end

  @doc "A socket of nlns, and the exchange by `:socket`."
  def open_socket do
    new("open_socket", fn path ->
      {:ok, socket} = Nlns.open_socket(path, :netlink, :raw, @route)
      ask(socket)
    end)
  end

  @doc "The same with the socket that OTP opens there."
  def otp do
    dump = fn options ->
      {:ok, socket} = :socket.open(@af_netlink, :raw, @route, options)
      ask(socket)
    end

    prepare = fn path -> %{netns: String.to_charlist(path)} end
    %Contender{name: "otp", open_close: dump, prepare: prepare}
  end

  @doc "There, all of it, and back on the scheduler: unsafe, and the bound for an exchange without a hand-off."
  def in_place do
    request = encoded()

    new("in-place", fn path ->
      {:ok, answer} = Native.exchange(path, @route, request)
      {:ok, [_, _, _]} = Message.decode(answer)
    end)
  end

  @doc "The dump of all links, as `Nlns.Netlink` takes it."
  def request, do: %Message{type: 18, flags: :dump, payload: <<0::128>>}

  @doc "How many messages answer it."
  def links, do: @links

  defp encoded, do: Message.encode(%{request() | flags: [:request, :dump]})

  defp ask(socket) do
    :ok = :socket.send(socket, encoded())
    @links = length(receive_all(socket, []))
    :ok = :socket.close(socket)
  end

  defp receive_all(socket, received) do
    {:ok, datagram} = :socket.recv(socket)
    {:ok, messages} = Message.decode(datagram)

    case Enum.split_while(messages, &(&1.type != :done)) do
      {messages, []} -> receive_all(socket, [messages | received])
      {messages, [_done]} -> Enum.concat(Enum.reverse([messages | received]))
    end
  end

  defp new(name, dump), do: %Contender{name: name, open_close: dump}
end
