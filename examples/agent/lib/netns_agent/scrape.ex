defmodule NetnsAgent.Scrape do
  @moduledoc """
  Reads one namespace: opens a netlink socket in it, asks, closes. The socket, which keeps the namespace
  alive, is open for the time of one question and one answer.
  """

  alias NetnsAgent.{Config, Link, Namespace, Netlink}

  @netlink_route 0
  @enoent 2

  # How often interfaces may change while the kernel lists them.
  @tries 3

  @type reading :: %{
          links: [Link.t()],
          more?: boolean(),
          cookie: non_neg_integer() | nil,
          command: binary() | nil
        }

  @typedoc "Where it failed, one word for a metric's label, and a sentence for people."
  @type error :: {atom(), String.t()}

  @doc "`:gone` if nothing is at any of its places any more: not an error, only news that is late."
  @spec run(Namespace.t(), Config.t()) :: {:ok, reading()} | :gone | {:error, error()}
  def run(namespace, config) do
    deadline = System.monotonic_time(:millisecond) + config.scrape_timeout
    in_places(namespace.places, config, deadline, @tries)
  end

  # Its process may have ended while others are still in it.
  defp in_places([], _config, _deadline, _tries), do: :gone

  defp in_places([place | others] = places, config, deadline, tries) do
    case read(place, config, deadline) do
      {:ok, reading} -> {:ok, Map.put(reading, :command, command(place))}
      {:error, {:open, @enoent}} -> in_places(others, config, deadline, tries)
      {:error, :interrupted} when tries > 1 -> in_places(places, config, deadline, tries - 1)
      {:error, reason} -> {:error, describe(reason)}
    end
  end

  defp read(place, config, deadline) do
    timeout = max(deadline - System.monotonic_time(:millisecond), 0)

    with {:ok, socket} <-
           Nlns.open_socket(place, :netlink, :raw, @netlink_route, timeout: timeout) do
      try do
        with {:ok, links, more?} <- Netlink.links(socket, config.max_interfaces, deadline) do
          {:ok, %{links: links, more?: more?, cookie: Netlink.cookie(socket)}}
        end
      after
        :socket.close(socket)
      end
    end
  end

  # What the process is called, for a namespace that has no name of its own.
  defp command({:pid, pid}) do
    case :file.open("/proc/#{pid}/comm", [:read, :raw, :binary]) do
      {:ok, file} ->
        comm = :file.read(file, 64)
        :file.close(file)
        with {:ok, comm} <- comm, do: String.trim_trailing(comm, "\n"), else: (_ -> nil)

      {:error, _} ->
        nil
    end
  end

  defp command(_path), do: nil

  defp describe({stage, errno} = reason) when stage in [:open, :setns, :socket, :thread] do
    {if(errno == 110, do: :timeout, else: stage), Nlns.format_error(reason)}
  end

  defp describe(:timeout), do: {:timeout, "netlink: no answer in time"}
  defp describe({:errno, errno}), do: {:netlink, "netlink: refused with errno #{errno}"}
  defp describe(reason), do: {:netlink, "netlink: #{reason}"}
end
