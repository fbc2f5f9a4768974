defmodule Nlns.Error.Look do
  @moduledoc false
  # Looks at a namespace again, off the hot path, for the facts that `Nlns.Error.Cause` judges.

  alias Nlns.{Confinement, Native, Spec}

  @typedoc """
  A path, and how far it leads.

    * `pid`: the process that it names, `running?` by its pidfd (`nil` without pidfds), `listed?` in `/proc`,
      `owner` its user id
    * `own_proc?`: what is mounted at `/proc` shows the numbers that this VM's processes have
    * `hidepid`: the option of the mount on `/proc`, looked up where it may be why the process is not listed
    * `stops_at`: the first part that cannot be looked up, and why; `link`: where that leads, if it is a link
    * `file`: what the path leads to
  """
  @type t :: %{
          path: binary(),
          pid: pos_integer() | nil,
          running?: boolean() | nil,
          listed?: boolean(),
          owner: non_neg_integer() | nil,
          user: non_neg_integer() | nil,
          own_proc?: boolean(),
          hidepid: String.t() | nil,
          stops_at: {binary(), atom()} | nil,
          link: binary() | nil,
          file: file() | nil,
          confinement: Confinement.t(),
          pool: Nlns.info() | nil
        }

  @typedoc "`kind` is the namespace's, by its link's text; `age` is seconds since the file changed."
  @type file :: %{
          type: atom(),
          nsfs?: boolean(),
          kind: String.t() | nil,
          size: non_neg_integer(),
          age: integer()
        }

  # What C passes as int.
  @max_pid 2_147_483_647
  # PATH_MAX of linux/limits.h, with its end: no longer one leads anywhere.
  @longest_path 4_095

  @doc "Collects the facts. It looks at the path too, unless the pool failed, because that path may never answer."
  @spec at(atom(), Nlns.netns()) :: t()
  def at(stage, netns) do
    path = path(Spec.netns!(netns))
    pid = pid(path)
    own_proc? = File.read_link("/proc/self") == {:ok, System.pid()}

    look = %{
      path: path,
      pid: pid,
      running?: if(pid && (own_proc? or match?({:pid, _}, netns)), do: Native.is_running(pid)),
      listed?: false,
      owner: nil,
      user: owner("/proc/self"),
      own_proc?: own_proc?,
      hidepid: nil,
      stops_at: nil,
      link: nil,
      file: nil,
      confinement: Confinement.read(),
      pool: Native.info()
    }

    if stage == :thread, do: look, else: Map.merge(look, follow(path, pid))
  end

  # Where the namespace of a process is shown, too.
  defp path(pid) when is_integer(pid), do: "/proc/#{pid}/ns/net"
  defp path(path), do: path

  defp follow(path, pid) do
    stops_at = stops_at(path)
    listed? = pid != nil and owner("/proc/#{pid}") != nil

    %{
      listed?: listed?,
      hidepid: if(pid && not listed?, do: Confinement.hidepid()),
      owner: pid && owner("/proc/#{pid}"),
      stops_at: stops_at,
      link: stops_at && link(elem(stops_at, 0)),
      file: file(path)
    }
  end

  defp stops_at(path) when byte_size(path) > @longest_path, do: {path, :enametoolong}

  defp stops_at(path),
    do: path |> Path.split() |> Stream.scan(&Path.join(&2, &1)) |> Enum.find_value(&stop/1)

  defp stop(part) do
    case stat(part) do
      {:ok, _} -> nil
      {:error, reason} -> {part, reason}
    end
  end

  # By the calling process: the path may never answer, and all others would wait for the file server with it.
  defp stat(path) do
    with {:ok, info} <- :file.read_file_info(path, [:raw, time: :posix]),
         do: {:ok, File.Stat.from_record(info)}
  end

  defp link(path) do
    case File.read_link(path) do
      {:ok, target} -> target
      {:error, _} -> nil
    end
  end

  defp owner(path) do
    case stat(path) do
      {:ok, stat} -> stat.uid
      {:error, _} -> nil
    end
  end

  # Every file of the namespaces' file system is on one device.
  defp file(path) do
    with {:ok, stat} <- stat(path),
         {:ok, own} <- stat("/proc/self/ns/net") do
      %{
        type: stat.type,
        nsfs?: stat.major_device == own.major_device,
        kind: kind(link(path)),
        size: stat.size,
        age: System.os_time(:second) - stat.ctime
      }
    else
      {:error, _} -> nil
    end
  end

  defp kind(nil), do: nil

  defp kind(link) do
    with [_, kind] <- Regex.run(~r/^(\w+):\[\d+\]$/, link), do: kind
  end

  defp pid(path) do
    with [_, digits] <- Regex.run(~r"^/proc/([1-9]\d{0,9})/", path) do
      pid = String.to_integer(digits)
      if pid <= @max_pid, do: pid
    end
  end
end
