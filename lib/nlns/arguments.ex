defmodule Nlns.Arguments do
  @moduledoc false
  # Checks the arguments of public functions, and raises `ArgumentError` for anything else.

  alias Nlns.Request

  # The ranges of C's int and unsigned int. The latter is also the longest time that `receive` waits.
  @min_int -2_147_483_648
  @max_int 2_147_483_647
  @max_uint 4_294_967_295

  @timeout 5_000

  @doc """
  Returns a path as a binary; a charlist and any other iolist are its bytes.

      iex> Nlns.Arguments.path!(~c"/run/netns/blue")
      "/run/netns/blue"
  """
  @spec path!(iodata()) :: binary()
  def path!(path) when is_binary(path), do: path

  def path!(path) when is_list(path) do
    IO.iodata_to_binary(path)
  rescue
    ArgumentError -> not_a_path!(path)
  end

  def path!(path), do: not_a_path!(path)

  defp not_a_path!(path) do
    raise ArgumentError, "expected a path as a binary or iolist, got: #{inspect(path)}"
  end

  @spec protocol!(non_neg_integer()) :: non_neg_integer()
  def protocol!(protocol) when is_integer(protocol) and protocol in 0..@max_int, do: protocol

  def protocol!(protocol) do
    raise ArgumentError, "expected a protocol from 0 to #{@max_int}, got: #{inspect(protocol)}"
  end

  @doc "Checks a descriptor. Any C int is one: -1, which a failed call returns, names nothing."
  @spec fd!(integer()) :: integer()
  def fd!(fd) when is_integer(fd) and fd in @min_int..@max_int, do: fd

  def fd!(fd) do
    raise ArgumentError,
          "expected a descriptor from #{@min_int} to #{@max_int}, got: #{inspect(fd)}"
  end

  @doc "Returns the descriptor of a number or of a `:socket`, which may be closed."
  @spec fd_of!(:socket.socket() | integer()) :: {:ok, integer()} | {:error, term()}
  def fd_of!(fd) when is_integer(fd), do: {:ok, fd!(fd)}

  def fd_of!(socket) do
    :socket.getopt(socket, :otp, :fd)
  rescue
    _ in [ArgumentError, FunctionClauseError] ->
      raise ArgumentError, "expected a descriptor or a :socket, got: #{inspect(socket)}"
  end

  @spec groups!(non_neg_integer()) :: non_neg_integer()
  def groups!(groups) when is_integer(groups) and groups in 0..@max_uint, do: groups

  def groups!(groups) do
    raise ArgumentError, "expected groups from 0 to 0xFFFFFFFF, got: #{inspect(groups)}"
  end

  @spec timeout!(timeout()) :: timeout()
  def timeout!(:infinity), do: :infinity
  def timeout!(timeout) when is_integer(timeout) and timeout in 0..@max_uint, do: timeout

  def timeout!(timeout) do
    raise ArgumentError,
          "expected a timeout of 0 to #{@max_uint} ms or :infinity, got: #{inspect(timeout)}"
  end

  @doc """
  Returns the timeout among the options of an open, the only one that there is.

      iex> Nlns.Arguments.timeout_of!([])
      5000

      iex> Nlns.Arguments.timeout_of!(timeout: :infinity)
      :infinity
  """
  @spec timeout_of!(timeout: timeout()) :: timeout()
  def timeout_of!([]), do: @timeout

  def timeout_of!(opts),
    do: opts |> options!(timeout: @timeout) |> Keyword.fetch!(:timeout) |> timeout!()

  @doc """
  Returns options with the defaults of those that are not given; any other raises.

      iex> Nlns.Arguments.options!([max_reply: 100], timeout: 5_000, max_reply: 16_000)
      [timeout: 5000, max_reply: 100]

      iex> Nlns.Arguments.options!([timout: 100], timeout: 5_000)
      ** (ArgumentError) unknown keys [:timout] in [timout: 100], the allowed keys are: [:timeout]
  """
  @spec options!(keyword(), keyword()) :: keyword()
  def options!(opts, defaults) do
    if not Keyword.keyword?(opts) do
      raise ArgumentError, "expected a keyword list of options, got: #{inspect(opts)}"
    end

    Keyword.validate!(opts, defaults)
  end

  @doc "Checks that a request is the calling process's own."
  @spec request!(Request.t()) :: Request.t()
  def request!(%Request{owner: owner} = request) when owner == self(), do: request

  def request!(%Request{owner: owner}) do
    raise ArgumentError,
          "expected a request of the calling process, got one that #{inspect(owner)} made"
  end

  def request!(request) do
    raise ArgumentError, "expected a %Nlns.Request{}, got: #{inspect(request)}"
  end
end
