defmodule Nlns.Dialyzer.User do
  @moduledoc "What code of users does with requests, handles and errors, beyond what the pages show."

  @type state :: %{
          optional(:request) => Nlns.Request.t(),
          handles: %{optional(binary()) => Nlns.Handle.t()}
        }

  # The message as open_async/5 documents it.
  @spec receive_one(binary()) :: {:ok, non_neg_integer()} | {:error, Nlns.reason() | :closed}
  def receive_one(path) do
    %Nlns.Request{ref: ref} = Nlns.open_async(path, :inet, :dgram, :udp, timeout: 100)

    receive do
      {:nlns, ^ref, {:ok, %Nlns.Handle{} = handle}} -> Nlns.Handle.to_fd(handle)
      {:nlns, ^ref, {:error, reason}} -> {:error, reason}
    end
  end

  @spec keep(state(), binary(), Nlns.Handle.t()) :: state()
  def keep(state, path, handle) do
    case state.handles do
      %{^path => %Nlns.Handle{} = old} -> :ok = Nlns.Handle.close(old)
      _none -> :ok
    end

    put_in(state.handles[path], handle)
  end

  @spec is_handle?(term()) :: boolean()
  def is_handle?(term), do: is_struct(term, Nlns.Handle) or match?(%Nlns.Handle{}, term)

  @spec same?(Nlns.Handle.t(), Nlns.Handle.t()) :: boolean()
  def same?(one, other), do: one == other

  @spec connect(Nlns.netns(), :inet.ip4_address()) ::
          {:ok, :socket.socket()} | {:error, String.t()}
  def connect(netns, address) do
    socket = Nlns.open_socket!(netns, :inet, :stream, :tcp, timeout: 1_000)
    :ok = :socket.connect(socket, %{family: :inet, addr: address, port: 80})
    {:ok, socket}
  rescue
    error in Nlns.Error ->
      %Nlns.Error{stage: stage, errno: errno, reason: posix} = error
      {:error, "#{stage} #{errno} #{posix}: #{Exception.message(error)}"}
  end

  @spec watch(binary()) :: :socket.socket()
  def watch(path) do
    socket =
      ~c"#{path}"
      |> Nlns.open_in_netns_async(0)
      |> Nlns.await!(:infinity)
      |> Nlns.Handle.to_socket!()

    :ok = Nlns.bind_netlink(socket, 1)
    socket
  end

  @spec explain(Nlns.netns()) :: String.t()
  def explain(netns) do
    case Nlns.open_fd(netns, :inet, :dgram, :udp) do
      {:ok, fd} ->
        "#{Nlns.close_fd(fd)}"

      {:error, {stage, _errno} = reason} when stage in [:open, :setns] ->
        Nlns.format_error(reason, netns)

      {:error, reason} ->
        Nlns.format_error(reason)
    end
  end

  @spec stuck() :: [binary() | nil]
  def stuck do
    case Nlns.info() do
      nil -> []
      %{stuck: 0} -> []
      %{helpers: helpers} -> for %{state: :stuck, path: path} <- helpers, do: path
    end
  end

  @spec links_later(Nlns.netns()) :: non_neg_integer() | :refused
  def links_later(netns) do
    request = %Nlns.Netlink.Message{type: 18, flags: :dump, payload: <<0::128>>}

    case netns |> Nlns.Netlink.execute_async(:route, request) |> Nlns.await() do
      {:ok, messages} when is_list(messages) -> length(messages)
      {:error, {:netlink, _errno, _details}} -> :refused
      {:error, {_stage, _errno}} -> 0
    end
  end

  @spec links(Nlns.netns()) :: {:ok, non_neg_integer()} | {:error, String.t()}
  def links(netns) do
    request = %Nlns.Netlink.Message{type: 18, flags: :dump, payload: <<0::128>>}

    case Nlns.Netlink.execute(netns, :route, request) do
      {:ok, messages} -> {:ok, length(messages)}
      {:error, {:netlink, _errno, %{message: text}}} when is_binary(text) -> {:error, text}
      {:error, reason} -> {:error, Nlns.format_error(reason)}
    end
  end
end
