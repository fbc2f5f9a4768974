defmodule Nlns.Spec do
  @moduledoc false
  # Translates the arguments of an open for socket(2). The numbers are the kernel's ABI, the same on every
  # architecture that OTP runs on (linux/socket.h, linux/net.h, linux/in.h).

  alias Nlns.Spec.Protocols

  # Numbers that C passes as int.
  @max_int 2_147_483_647

  @domains %{unspec: 0, local: 1, unix: 1, inet: 2, inet6: 10, netlink: 16, packet: 17}

  @types %{stream: 1, dgram: 2, raw: 3, rdm: 4, seqpacket: 5}

  @type netns :: binary() | {:pid, pos_integer()} | {:name, binary()}

  @doc """
  Returns what `Nlns.Native.open/5` takes for a namespace: a path, or a process's number.

      iex> Nlns.Spec.netns!({:name, "blue"})
      "/run/netns/blue"

      iex> Nlns.Spec.netns!({:name, "../blue"})
      ** (ArgumentError) expected a name without "/", got: "../blue"
  """
  @spec netns!(netns()) :: binary() | pos_integer()
  def netns!(path) when is_binary(path), do: path
  def netns!({:pid, pid}) when is_integer(pid) and pid in 1..@max_int, do: pid

  def netns!({:name, name}) when is_binary(name) do
    if name in ["", ".", ".."] or String.contains?(name, "/") do
      raise ArgumentError, "expected a name without \"/\", got: #{inspect(name)}"
    end

    "/run/netns/" <> name
  end

  def netns!(other) do
    raise ArgumentError,
          "expected a path, {:pid, pid} or {:name, name} for the namespace, got: #{inspect(other)}"
  end

  @doc "Returns the number `AF_*`."
  @spec domain!(atom() | non_neg_integer()) :: non_neg_integer()
  def domain!(domain), do: number!("domain", @domains, domain, 65_535)

  @doc "Returns the number `SOCK_*`. nlns sets the flags, so nothing above the type's four bits is allowed."
  @spec type!(atom() | non_neg_integer()) :: non_neg_integer()
  def type!(type), do: number!("type", @types, type, 15)

  @doc "Returns the protocol in the form that socket(2) takes: for `:packet`, in network byte order."
  @spec protocol!(atom() | non_neg_integer()) :: non_neg_integer()
  def protocol!(protocol), do: number!("protocol", Protocols.numbers(), protocol, @max_int)

  defp number!(_what, names, name, _max) when is_map_key(names, name), do: Map.fetch!(names, name)
  defp number!(_what, _names, n, max) when is_integer(n) and n >= 0 and n <= max, do: n

  defp number!(what, names, other, max) do
    names = names |> Map.keys() |> Enum.sort() |> Enum.map_join(", ", &inspect/1)

    raise ArgumentError,
          "expected a #{what} of #{names} or from 0 to #{max}, got: #{inspect(other)}"
  end
end
