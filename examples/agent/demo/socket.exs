defmodule Load.Socket do
  @moduledoc """
  The exchanges of `Nlns.Netlink.stream/4` as they are without it, over sockets: what `load` compares with.
  """

  alias Nlns.Netlink.Message

  # The kernel makes datagrams of a dump as large as the reader's buffer, up to this.
  @buffer 32_768
  @tries 3

  def stream(paths, :route, request, options) do
    timeout = Keyword.fetch!(options, :timeout)
    max = Keyword.fetch!(options, :max_in_flight)
    bytes = Message.encode(%{request | flags: [:request, request.flags], seq: 1})

    paths
    |> Task.async_stream(
      fn path -> {path, execute(path, bytes, timeout, @tries)} end,
      max_concurrency: max,
      ordered: false,
      timeout: :infinity
    )
    |> Stream.map(fn {:ok, element} -> element end)
  end

  defp execute(path, request, timeout, tries) do
    deadline = System.monotonic_time(:millisecond) + timeout

    with {:ok, socket} <- Nlns.open_socket(path, :netlink, :raw, 0, timeout: timeout) do
      try do
        :ok = :socket.setopt(socket, {:otp, :rcvbuf}, @buffer)
        :ok = :socket.send(socket, request)
        receive_dump(socket, deadline, [])
      after
        :socket.close(socket)
      end
    end
    |> case do
      :interrupted when tries > 1 -> execute(path, request, timeout, tries - 1)
      :interrupted -> {:error, {:receive, 4}}
      answer -> answer
    end
  end

  defp receive_dump(socket, deadline, done) do
    timeout = deadline - System.monotonic_time(:millisecond)

    with true <- timeout > 0,
         {:ok, %{addr: %{addr: from}, iov: iov}} <- :socket.recvmsg(socket, 0, 0, [], timeout),
         {:ok, messages} <-
           Message.decode(if kernel?(from), do: IO.iodata_to_binary(iov), else: "") do
      messages = Enum.filter(messages, &(&1.seq == 1))

      cond do
        Enum.any?(messages, &Message.flag?(&1, :dump_intr)) ->
          :interrupted

        match?(%{type: :done}, List.last(messages)) ->
          {:ok, Enum.concat(Enum.reverse([Enum.drop(messages, -1) | done]))}

        true ->
          receive_dump(socket, deadline, [messages | done])
      end
    else
      _ -> {:error, {:receive, 110}}
    end
  end

  # struct sockaddr_nl after its family: two bytes of padding, nl_pid (0: the kernel), nl_groups.
  defp kernel?(<<_::16, 0::32, _::binary>>), do: true
  defp kernel?(_), do: false
end
