defmodule NetnsAgent.Netlink do
  @moduledoc """
  Asks rtnetlink(7) for the interfaces of the namespace that a socket is in.

  One request, RTM_GETLINK with NLM_F_DUMP; the answer is a series of messages, several in a datagram,
  that ends with NLMSG_DONE. Numbers are in the machine's byte order.

  What is read is not trusted: a container may have any number of interfaces, and its root may send
  datagrams to this socket that are not the kernel's.
  """

  alias NetnsAgent.Link

  # linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if.h
  @nlmsg_error 2
  @nlmsg_done 3
  @rtm_newlink 16
  @rtm_getlink 18
  @nlm_f_request 0x001
  @nlm_f_dump_intr 0x010
  @nlm_f_dump 0x300
  @ifla_ifname 3
  @ifla_stats64 23
  @iff_up 0x1

  @sequence 1

  # The kernel makes datagrams of a dump as large as the reader's buffer, up to this.
  @buffer 32_768

  # linux/socket.h
  @sol_socket 1
  @so_netns_cookie 71

  @type reason :: {:errno, integer()} | :malformed | :interrupted | :inet.posix() | :timeout

  @doc """
  The interfaces, at most `max` (and `true` if there were more), before `deadline` (monotonic, ms).

  `:interrupted` if they changed while the kernel was listing them: ask again, on a new socket.
  """
  @spec links(:socket.socket(), pos_integer(), integer()) ::
          {:ok, [Link.t()], more? :: boolean()} | {:error, reason()}
  def links(socket, max, deadline) do
    with :ok <- :socket.setopt(socket, {:otp, :rcvbuf}, @buffer),
         :ok <- :socket.send(socket, request()) do
      receive_links(socket, max, deadline, [])
    end
  end

  @doc """
  The number of the namespace that the kernel never gives to another one, or `nil` on a kernel
  without (before 5.14).
  """
  @spec cookie(:socket.socket()) :: non_neg_integer() | nil
  def cookie(socket) do
    case :socket.getopt_native(socket, {@sol_socket, @so_netns_cookie}, 8) do
      {:ok, <<cookie::64-native>>} -> cookie
      _ -> nil
    end
  end

  # struct nlmsghdr, then struct ifinfomsg with nothing in it: every interface.
  defp request do
    <<32::32-native, @rtm_getlink::16-native, @nlm_f_request + @nlm_f_dump::16-native,
      @sequence::32-native, 0::32, 0::128>>
  end

  defp receive_links(socket, max, deadline, links) do
    with {:ok, messages} <- receive_messages(socket, deadline),
         {:more, links} when length(links) <= max <- parse(messages, links) do
      receive_links(socket, max, deadline, links)
    else
      {:error, reason} -> {:error, reason}
      {_more_or_done, links} -> {:ok, take(links, max), length(links) > max}
    end
  end

  # The timeout is checked here too: with a flood of datagrams the socket would never wait.
  defp receive_messages(socket, deadline) do
    timeout = deadline - System.monotonic_time(:millisecond)

    case timeout > 0 && :socket.recvmsg(socket, 0, 0, [], timeout) do
      {:ok, %{addr: %{addr: from}, iov: iov}} ->
        {:ok, if(kernel?(from), do: IO.iodata_to_binary(iov), else: "")}

      {:error, {reason, _rest}} ->
        {:error, reason}

      {:error, reason} ->
        {:error, reason}

      false ->
        {:error, :timeout}
    end
  end

  defp take(links, max), do: links |> Enum.reverse() |> Enum.take(max)

  # struct sockaddr_nl after its family: two bytes of padding, nl_pid (0: the kernel), nl_groups.
  defp kernel?(<<_::16, 0::32, _::binary>>), do: true
  defp kernel?(_), do: false

  defp parse("", links), do: {:more, links}

  defp parse(
         <<length::32-native, type::16-native, flags::16-native, sequence::32-native, _::32,
           rest::binary>>,
         links
       )
       when length >= 16 and length - 16 <= byte_size(rest) do
    <<body::binary-size(length - 16), rest::binary>> = rest

    cond do
      sequence != @sequence -> parse(skip_padding(rest, length), links)
      Bitwise.band(flags, @nlm_f_dump_intr) != 0 -> {:error, :interrupted}
      true -> message(type, body, skip_padding(rest, length), links)
    end
  end

  defp parse(_, _links), do: {:error, :malformed}

  defp message(@rtm_newlink, body, rest, links) do
    case link(body) do
      {:ok, link} -> parse(rest, [link | links])
      :error -> {:error, :malformed}
    end
  end

  defp message(@nlmsg_done, <<errno::32-signed-native, _::binary>>, _rest, _links)
       when errno < 0,
       do: {:error, {:errno, -errno}}

  defp message(@nlmsg_done, _body, _rest, links), do: {:done, links}

  defp message(@nlmsg_error, <<errno::32-signed-native, _::binary>>, _rest, _links),
    do: {:error, {:errno, -errno}}

  defp message(_type, _body, rest, links), do: parse(rest, links)

  # struct ifinfomsg: family, padding, type, index, flags, change; then the attributes.
  defp link(<<_::32, index::32-native, flags::32-native, _::32, attributes::binary>>) do
    with {:ok, name, stats} <- attributes(attributes, nil, nil) do
      {:ok,
       %Link{
         index: index,
         name: name,
         up?: Bitwise.band(flags, @iff_up) != 0,
         counters: stats
       }}
    end
  end

  defp link(_), do: :error

  # Each attribute is a struct rtattr and its value. There are dozens; two matter.
  defp attributes(_rest, name, stats) when name != nil and stats != nil, do: {:ok, name, stats}

  defp attributes(<<length::16-native, type::16-native, rest::binary>>, name, stats)
       when length >= 4 and length - 4 <= byte_size(rest) do
    <<value::binary-size(length - 4), rest::binary>> = rest
    rest = skip_padding(rest, length)

    case type do
      @ifla_ifname -> attributes(rest, hd(:binary.split(value, <<0>>)), stats)
      @ifla_stats64 -> attributes(rest, name, counters(value))
      _ -> attributes(rest, name, stats)
    end
  end

  defp attributes(_, _name, _stats), do: :error

  # struct rtnl_link_stats64
  defp counters(
         <<rx_packets::64-native, tx_packets::64-native, rx_bytes::64-native, tx_bytes::64-native,
           rx_errors::64-native, tx_errors::64-native, rx_dropped::64-native,
           tx_dropped::64-native, _::binary>>
       ) do
    %{
      rx_packets: rx_packets,
      tx_packets: tx_packets,
      rx_bytes: rx_bytes,
      tx_bytes: tx_bytes,
      rx_errors: rx_errors,
      tx_errors: tx_errors,
      rx_dropped: rx_dropped,
      tx_dropped: tx_dropped
    }
  end

  defp counters(_), do: nil

  # Messages and attributes begin at multiples of four. The last one may lack its padding.
  defp skip_padding(rest, length) do
    padding = rem(4 - rem(length, 4), 4)

    case rest do
      <<_::binary-size(padding), rest::binary>> -> rest
      _ -> ""
    end
  end
end
