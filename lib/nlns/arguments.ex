defmodule Nlns.Arguments do
  @moduledoc false
  # What the public functions take: each check raises `ArgumentError` with anything else.

  alias Nlns.Request

  # Numbers that C passes as int or as unsigned int; the latter is also the longest that `receive` waits.
  @max_int 2_147_483_647
  @max_uint 4_294_967_295

  defguardp is_int(n) when is_integer(n) and n in 0..@max_int

  @spec open!(binary(), non_neg_integer()) :: :ok
  def open!(path, protocol) do
    path!(path)

    unless is_int(protocol) do
      raise ArgumentError, "expected a protocol from 0 to #{@max_int}, got: #{inspect(protocol)}"
    end

    :ok
  end

  @spec path!(binary()) :: :ok
  def path!(path) when is_binary(path), do: :ok

  def path!(path) do
    raise ArgumentError, "expected a path as a binary, got: #{inspect(path)}"
  end

  @spec fd!(non_neg_integer()) :: :ok
  def fd!(fd) when is_int(fd), do: :ok

  def fd!(fd) do
    raise ArgumentError, "expected a descriptor from 0 to #{@max_int}, got: #{inspect(fd)}"
  end

  @spec groups!(non_neg_integer()) :: :ok
  def groups!(groups) when is_integer(groups) and groups in 0..@max_uint, do: :ok

  def groups!(groups) do
    raise ArgumentError, "expected groups from 0 to 0xFFFFFFFF, got: #{inspect(groups)}"
  end

  @spec timeout!(timeout()) :: :ok
  def timeout!(:infinity), do: :ok
  def timeout!(timeout) when is_integer(timeout) and timeout in 0..@max_uint, do: :ok

  def timeout!(timeout) do
    raise ArgumentError,
          "expected a timeout of 0 to #{@max_uint} ms or :infinity, got: #{inspect(timeout)}"
  end

  @doc "A request of the calling process."
  @spec request!(Request.t()) :: :ok
  def request!(%Request{owner: owner}) when owner == self(), do: :ok

  def request!(%Request{owner: owner}) do
    raise ArgumentError,
          "expected a request of the calling process, got one that #{inspect(owner)} made"
  end

  def request!(request) do
    raise ArgumentError, "expected a %Nlns.Request{}, got: #{inspect(request)}"
  end
end
