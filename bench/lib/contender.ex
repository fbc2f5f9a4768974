defmodule Bench.Contender do
  @moduledoc """
  The ways to open a netlink socket in a namespace, and close it, that the workloads compare.

  Each asserts success, so that a failing contender is never a fast one.
  """

  alias Bench.Native

  @enforce_keys [:name, :open_close]
  defstruct [:name, :open_close, prepare: &Function.identity/1]

  @af_netlink 16

  def all, do: [nlns(), throwaway(), otp(), otp_unregistered(), in_place(), floor()]

  @doc "As shipped."
  def nlns do
    new("nlns", fn path ->
      {:ok, fd} = Nlns.open_in_netns(path, 0)
      :ok = Nlns.close_fd(fd)
    end)
  end

  @doc "A thread per open, joined on a dirty scheduler."
  def throwaway do
    new("throwaway", fn path ->
      {:ok, fd} = Native.throwaway(path, 0)
      :ok = Native.close(fd)
    end)
  end

  @doc "What OTP has, as a user would write it."
  def otp, do: otp("otp", %{})

  @doc "The same without a message to the registry of sockets."
  def otp_unregistered, do: otp("otp, no registry", %{use_registry: false})

  @doc "There and back on the scheduler: unsafe, and the bound for one open without a hand-off."
  def in_place do
    new("in-place", fn path ->
      {:ok, fd} = Native.in_place(path, 0)
      :ok = Native.close(fd)
    end)
  end

  @doc "A socket in the VM's own namespace: what nothing can beat."
  def floor do
    new("floor", fn _path ->
      {:ok, fd} = Native.floor(0)
      :ok = Native.close(fd)
    end)
  end

  @doc "What `open_close` takes for each path, in a tuple: made here so that it is not measured."
  def arguments(%__MODULE__{prepare: prepare}, paths), do: List.to_tuple(Enum.map(paths, prepare))

  defp new(name, open_close), do: %__MODULE__{name: name, open_close: open_close}

  # The option takes a string of Erlang's kind.
  defp otp(name, options) do
    open_close = fn options ->
      {:ok, socket} = :socket.open(@af_netlink, :raw, 0, options)
      :ok = :socket.close(socket)
    end

    prepare = fn path -> Map.put(options, :netns, String.to_charlist(path)) end
    %__MODULE__{name: name, open_close: open_close, prepare: prepare}
  end
end
