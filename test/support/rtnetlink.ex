defmodule Nlns.Rtnetlink do
  @moduledoc """
  What a netlink socket sees: netlink(7), rtnetlink(7).

  A descriptor is only borrowed: `:socket`, told not to duplicate it, leaves it open.
  """

  @rtm_newlink 16
  @rtm_getlink 18
  @nlmsg_done 3
  # NLM_F_REQUEST | NLM_F_DUMP
  @dump 0x301
  @ifla_ifname 3

  @sol_socket 1
  @so_netns_cookie 71

  @timeout 5_000

  @doc "The names of the interfaces in the namespace of the socket."
  @spec links(non_neg_integer() | :socket.socket()) :: [String.t()]
  def links(fd) when is_integer(fd), do: borrow(fd, &links/1)

  def links(socket) do
    body = <<0::size(16)-unit(8)>>
    header = <<16 + byte_size(body)::native-32, @rtm_getlink::native-16, @dump::native-16, 1::64>>
    :ok = :socket.send(socket, header <> body)
    receive_dump(socket, [])
  end

  @doc "The names in the next notification of new or changed interfaces."
  @spec next_links(:socket.socket()) :: [String.t()]
  def next_links(socket) do
    {:ok, data} = :socket.recv(socket, 0, @timeout)
    names(data)
  end

  @doc "The names in what was received."
  @spec names(binary()) :: [String.t()]
  def names(data), do: data |> parse() |> elem(0)

  @doc "The number of the socket's namespace that the kernel never uses twice (Linux 5.14)."
  @spec cookie(non_neg_integer() | :socket.socket()) :: pos_integer()
  def cookie(fd) when is_integer(fd), do: borrow(fd, &cookie/1)

  def cookie(socket) do
    {:ok, <<cookie::native-64>>} =
      :socket.getopt_native(socket, {@sol_socket, @so_netns_cookie}, 8)

    cookie
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

  defp receive_dump(socket, names) do
    {:ok, data} = :socket.recv(socket, 0, @timeout)

    case parse(data) do
      {more, true} -> names ++ more
      {more, false} -> receive_dump(socket, names ++ more)
    end
  end

  defp parse(data), do: parse(data, [])

  defp parse(<<_::32, @nlmsg_done::native-16, _::binary>>, names), do: {Enum.reverse(names), true}

  defp parse(<<length::native-32, type::native-16, _::binary>> = data, names) do
    <<message::binary-size(length), rest::binary>> = data

    case {type, message} do
      {@rtm_newlink, <<_header::size(16)-unit(8), _ifinfo::size(16)-unit(8), rest_of::binary>>} ->
        parse(rest, [attribute(rest_of, @ifla_ifname) | names])

      _ ->
        parse(rest, names)
    end
  end

  defp parse(<<>>, names), do: {Enum.reverse(names), false}

  defp attribute(<<length::native-16, type::native-16, rest::binary>>, wanted) do
    padded = div(length - 4 + 3, 4) * 4
    <<value::binary-size(padded), rest::binary>> = rest

    if type == wanted,
      do: value |> :binary.split(<<0>>) |> hd(),
      else: attribute(rest, wanted)
  end
end
