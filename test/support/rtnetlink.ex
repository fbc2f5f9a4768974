defmodule Nlns.Rtnetlink do
  @moduledoc """
  What a netlink socket sees: netlink(7), rtnetlink(7).

  A descriptor is only borrowed: `:socket`, told not to duplicate it, leaves it open.
  """

  import Nlns.Patience

  alias Nlns.Netlink.{Attribute, Message}

  @rtm_newlink 16
  @rtm_getlink 18
  @ifla_ifname 3

  @sol_socket 1
  @so_netns_cookie 71

  @timeout 5_000

  @doc "The names of the interfaces in the namespace of the socket."
  @spec links(non_neg_integer() | :socket.socket()) :: [String.t()]
  def links(fd) when is_integer(fd), do: borrow(fd, &links/1)

  def links(socket) do
    # struct ifinfomsg with nothing in it: every interface.
    dump = %Message{type: @rtm_getlink, flags: [:request, :dump], payload: <<0::128>>}
    :ok = :socket.send(socket, Message.encode(dump))
    receive_dump(socket)
  end

  @doc "The names in the next notification of new or changed interfaces."
  @spec next_links(:socket.socket()) :: [String.t()]
  def next_links(socket) do
    {:ok, data} = :socket.recv(socket, 0, within(@timeout))
    names(data)
  end

  @doc "The names in what was received."
  @spec names(binary()) :: [String.t()]
  def names(data), do: data |> Message.decode!() |> names_in()

  @doc """
  The number of the socket's namespace, which no other ever has: the kernel's (Linux 5.14), else the mark
  that `Nlns.Netns` has left there.
  """
  @spec cookie(non_neg_integer() | :socket.socket()) :: pos_integer()
  def cookie(fd) when is_integer(fd), do: borrow(fd, &cookie/1)

  def cookie(socket) do
    case :socket.getopt_native(socket, {@sol_socket, @so_netns_cookie}, 8) do
      {:ok, <<cookie::native-64>>} ->
        cookie

      {:error, _} ->
        {:ok, mark} = :socket.ioctl(socket, :giftxqlen, ~c"lo")
        mark
    end
  end

  @doc "Whether the kernel numbers namespaces, so that they need no mark."
  @spec cookies?() :: boolean()
  def cookies? do
    {:ok, socket} = :socket.open(16, :raw, 0)
    answer = :socket.getopt_native(socket, {@sol_socket, @so_netns_cookie}, 8)
    :ok = :socket.close(socket)
    match?({:ok, _}, answer)
  end

  @doc "The cookie of the VM's own namespace."
  @spec home_cookie() :: pos_integer()
  def home_cookie do
    {:ok, socket} = :socket.open(16, :raw, 0)
    cookie = cookie(socket)
    :ok = :socket.close(socket)
    cookie
  end

  @doc "The port that bind(2) gave the socket, and its groups."
  @spec name(non_neg_integer()) :: {non_neg_integer(), non_neg_integer()}
  def name(fd) do
    borrow(fd, fn socket ->
      # struct sockaddr_nl behind its family: pad, nl_pid, nl_groups
      {:ok, %{addr: <<_::16, pid::native-32, groups::native-32>>}} = :socket.sockname(socket)
      {pid, groups}
    end)
  end

  @spec borrow(non_neg_integer(), (:socket.socket() -> result)) :: result when result: var
  def borrow(fd, fun) do
    {:ok, socket} = :socket.open(fd, %{dup: false, use_registry: false})

    try do
      fun.(socket)
    after
      :socket.close(socket)
    end
  end

  defp receive_dump(socket) do
    {:ok, data} = :socket.recv(socket, 0, within(@timeout))
    messages = Message.decode!(data)

    if Enum.any?(messages, &(&1.type == :done)),
      do: names_in(messages),
      else: names_in(messages) ++ receive_dump(socket)
  end

  # Behind struct ifinfomsg.
  defp names_in(messages) do
    for %{type: @rtm_newlink, payload: <<_::128, attributes::binary>>} <- messages,
        do: Attribute.get!(attributes, @ifla_ifname, :string)
  end
end
