defmodule NetnsAgent.Discovery do
  @moduledoc """
  Looks which network namespaces there are: the files of some directories, and procfs.

  Nothing is opened, so nothing is held and nothing can block on what somebody put there: stat(2) of a
  namespace file tells its device (nsfs) and inode, which is what makes two files the same namespace.
  A file on another device is none: `ip netns add` makes a plain file first and mounts the namespace
  on it a moment later.

  procfs shows the namespace of each process, that is of its first thread. A namespace that only
  another thread, a descriptor or a bind mount elsewhere holds is not found.
  """

  alias NetnsAgent.{Config, Namespace}

  # Processes come and go; a few are enough to get in as long as one of them lives.
  @max_places 4

  @doc "What is there now, by id, the VM's own namespace excepted; and how many were too many."
  @spec scan(Config.t()) :: {%{String.t() => Namespace.t()}, dropped :: non_neg_integer()}
  def scan(config) do
    {:ok, {device, own}} = stat("/proc/self/ns/net")

    {found, dropped} =
      (files(config.dirs) ++ processes(config.proc))
      |> Enum.flat_map(fn {_kind, _label, path} = entry ->
        case stat(path) do
          {:ok, {^device, inode}} when inode != own -> [{inode, entry}]
          _ -> []
        end
      end)
      |> Enum.group_by(&elem(&1, 0), &elem(&1, 1))
      |> Enum.map(&namespace/1)
      |> Enum.filter(&wanted?(&1, config.only))
      |> Enum.sort_by(& &1.id)
      |> Enum.split(config.max_namespaces)

    {by_id(found), length(dropped)}
  end

  # Files come before processes in the list, and grouping keeps the order.
  defp namespace({inode, [{_kind, label, _path} | _] = entries}) do
    %Namespace{
      id: label,
      inode: inode,
      places: entries |> Enum.take(@max_places) |> Enum.map(&place/1),
      processes: Enum.count(entries, &match?({{:process, _}, _, _}, &1))
    }
  end

  # nlns follows the process and not its number, where it knows that there is one.
  defp place({{:process, pid}, _label, "/proc/" <> _}), do: {:pid, pid}
  defp place({_kind, _label, path}), do: path

  # Two directories may have the same name for different namespaces.
  defp by_id(namespaces) do
    Enum.reduce(namespaces, %{}, fn namespace, found ->
      id = namespace.id
      id = if is_map_key(found, id), do: "#{id}@#{namespace.inode}", else: id
      Map.put(found, id, %{namespace | id: id})
    end)
  end

  defp wanted?(_namespace, nil), do: true
  defp wanted?(namespace, only), do: namespace.id =~ only

  defp files(dirs) do
    for dir <- dirs, name <- list(dir), do: {:file, name, dir <> "/" <> name}
  end

  defp processes(nil), do: []

  defp processes(proc) do
    pids = for name <- list(proc), {pid, ""} <- [Integer.parse(name)], do: pid
    for pid <- Enum.sort(pids), do: {{:process, pid}, "pid:#{pid}", "#{proc}/#{pid}/ns/net"}
  end

  # Names are bytes. What is not in the file system's encoding comes as a binary already.
  defp list(dir) do
    case :file.list_dir_all(dir) do
      {:ok, names} -> Enum.map(names, &bytes/1)
      {:error, _} -> []
    end
  end

  defp bytes(name) when is_binary(name), do: name

  defp bytes(name) do
    :unicode.characters_to_binary(name, :unicode, :file.native_name_encoding())
  end

  # Raw, as the file server would be one queue for everybody; with times that need no calendar.
  defp stat(path) do
    with {:ok, info} <- :file.read_file_info(path, [:raw, time: :posix]) do
      stat = File.Stat.from_record(info)
      {:ok, {stat.major_device, stat.inode}}
    end
  end
end
