defmodule NetnsAgent.Discovery do
  @moduledoc """
  Looks which network namespaces there are: the files of some directories, and procfs.

  Nothing is opened, so nothing is held and nothing can block. stat(2) of a namespace file tells its
  device (nsfs) and inode, which is what makes two files the same namespace. A file on another device
  is none: `ip netns add` makes a plain file first and mounts the namespace on it a moment later.

  procfs shows the namespace of each process, that is of its first thread. A namespace that only
  another thread, a descriptor or a bind mount elsewhere holds is not found.
  """

  alias NetnsAgent.{Config, Text}

  defmodule Namespace do
    @moduledoc """
    A network namespace that was found, and the ways into it.

      * `id` - what people call it, as readable text: the name of its file, `pid:N` if only processes
        hold it, or the path if another namespace has that name
      * `identity` - tells it from others: its inode, and where it is mounted when that was made (s), as
        the kernel gives an inode to the next namespace as soon as this one is gone
      * `paths` - best first: files outlive processes. A process is a path too, and never `{:pid, n}`:
        under `/host/proc`, `n` is a number of the host and another process here
      * `processes` - how many processes were in it when it was found, threads not counted
    """
    @enforce_keys [:id, :identity, :paths]
    defstruct [:id, :identity, :paths, processes: 0]

    @type t :: %__MODULE__{
            id: String.t(),
            identity: {inode :: pos_integer(), made :: integer() | nil},
            paths: [binary(), ...],
            processes: non_neg_integer()
          }
  end

  # Processes come and go; a few are enough to get in as long as one of them lives.
  @max_paths 4

  @doc "What is there now, by id, the VM's own namespace excepted; and how many were too many."
  @spec scan(Config.t()) :: {%{String.t() => Namespace.t()}, dropped :: non_neg_integer()}
  def scan(config) do
    {:ok, %{major_device: nsfs, inode: own}} = look(:process, "/proc/self/ns/net")

    # Files come before processes, in the order of the directories. No name has a slash, and every path has.
    places = Enum.with_index(files(config.dirs) ++ processes(config.proc))

    {found, dropped} =
      for {{kind, name, path}, order} <- places,
          {:ok, %{major_device: ^nsfs, inode: inode, ctime: made}} <- [look(kind, path)],
          inode != own do
        {inode, {order, kind, name, path, made}}
      end
      |> Enum.group_by(&elem(&1, 0), &elem(&1, 1))
      |> Enum.sort_by(fn {_inode, places} -> hd(places) end)
      |> Enum.reduce(%{}, &add/2)
      |> Enum.filter(fn {id, _} -> config.only == nil or id =~ config.only end)
      |> Enum.sort()
      |> Enum.split(config.max_namespaces)

    {Map.new(found), length(dropped)}
  end

  defp add({inode, [{_order, _kind, name, path, made} | _] = places}, found) do
    id = if is_map_key(found, name), do: Text.readable(path), else: name
    paths = for {_, _, _, path, _} <- Enum.take(places, @max_paths), do: path
    processes = Enum.count(places, &(elem(&1, 1) == :process))
    namespace = %Namespace{id: id, identity: {inode, made}, paths: paths, processes: processes}
    Map.put(found, id, namespace)
  end

  defp files(dirs) do
    for dir <- dirs, name <- list(dir), do: {:file, Text.readable(name), dir <> "/" <> name}
  end

  defp processes(proc) do
    pids = for name <- list(proc), {pid, ""} <- [Integer.parse(name)], do: pid
    for pid <- Enum.sort(pids), do: {:process, "pid:#{pid}", "#{proc}/#{pid}/ns/net"}
  end

  # Names are bytes. What is not in the file system's encoding comes as a binary already.
  defp list(nil), do: []

  defp list(dir) do
    with {:ok, names} <- :file.list_dir_all(dir), encoding = :file.native_name_encoding() do
      for name <- names,
          do:
            if(is_list(name),
              do: :unicode.characters_to_binary(name, :unicode, encoding),
              else: name
            )
    else
      {:error, _} -> []
    end
  end

  # An inode that nothing keeps is made anew for each look, which is so of procfs, and behind a link to it.
  defp look(:file, path) do
    with {:ok, %{type: :symlink}} <- stat(&:file.read_link_info/2, path), do: look(:process, path)
  end

  defp look(:process, path) do
    with {:ok, stat} <- stat(&:file.read_file_info/2, path), do: {:ok, %{stat | ctime: nil}}
  end

  # Raw, as the file server would be one queue for everybody; with times that need no calendar.
  defp stat(read, path) do
    with {:ok, info} <- read.(path, [:raw, time: :posix]), do: {:ok, File.Stat.from_record(info)}
  end
end
