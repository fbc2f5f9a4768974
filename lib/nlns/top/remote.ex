defmodule Nlns.Top.Remote do
  @moduledoc false
  # Another node's pool, over Erlang distribution.

  @timeout 5_000

  @doc "Becomes a node, unless this is one, and connects; raises `Mix.Error` with what is wrong."
  @spec connect!(String.t(), String.t() | nil) :: node()
  def connect!(name, cookie) do
    {:ok, host} = :inet.gethostname()
    name = if name =~ "@", do: name, else: "#{name}@#{host}"
    node = String.to_atom(name)
    unless Node.alive?(), do: start!(name, host)
    if cookie, do: Node.set_cookie(node, String.to_atom(cookie))

    unless Node.connect(node) == true do
      Mix.raise("#{name} cannot be reached: is it running under that name, with the same cookie?")
    end

    node
  end

  # Nobody connects to this one, so it needs neither epmd nor a port; and it is hidden, so that the
  # nodes of a cluster do not take it for a member.
  defp start!(name, host) do
    own = "nlns_top_#{System.pid()}@#{host}"

    # A long name must have a dot in it, and that of this machine may have none.
    {own, domain} =
      if name =~ ~r/@.*\./, do: {own <> ".invalid", :longnames}, else: {own, :shortnames}

    case :net_kernel.start(String.to_atom(own), %{
           name_domain: domain,
           dist_listen: false,
           hidden: true
         }) do
      {:ok, _pid} -> :ok
      {:error, reason} -> Mix.raise("this node cannot be given a name: #{inspect(reason)}")
    end
  end

  @spec info!(node()) :: map() | nil
  def info!(node) do
    :erpc.call(node, Nlns, :info, [], @timeout)
  rescue
    error in ErlangError ->
      case error.original do
        {:erpc, reason} -> Mix.raise("#{node} does not answer: #{inspect(reason)}")
        {:exception, :undef, _stack} -> Mix.raise("#{node} does not have nlns")
        {:exception, reason, _stack} -> Mix.raise("#{node} failed: #{inspect(reason)}")
      end
  end
end
