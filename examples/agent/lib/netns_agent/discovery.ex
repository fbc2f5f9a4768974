defmodule NetnsAgent.Discovery do
  @moduledoc """
  Looks which network namespaces there are, again and again: the files of some directories, and procfs,
  which cannot be watched.

  Nothing is opened, so nothing is held and nothing can block. stat(2) of a namespace file tells its
  device (nsfs) and inode, which is what makes two files the same namespace. A file on another device
  is none: `ip netns add` makes a plain file first and mounts the namespace on it a moment later.

  procfs shows the namespace of each process, that is of its first thread. A namespace that only
  another thread, a descriptor or a bind mount elsewhere holds is not found.
  """

  use GenServer

  alias NetnsAgent.{Config, Scraper, Store, Text}

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

    @type t :: %__MODULE__{}

    @doc "The best path that is still there: a process may have ended while others are in its namespace."
    @spec path(t()) :: binary()
    def path(%{paths: [path]}), do: path
    def path(%{paths: paths}), do: Enum.find(paths, hd(paths), &File.exists?(&1, [:raw]))
  end

  # Processes come and go; a few are enough to get in as long as one of them lives.
  @max_paths 4

  def start_link(config), do: GenServer.start_link(__MODULE__, config, name: __MODULE__)

  @impl true
  def init(config), do: {:ok, config, 0}

  @impl true
  def handle_info(:timeout, config) do
    {found, dropped} = scan(config)
    gone = for %{id: id} <- Store.namespaces(), not is_map_key(found, id), do: Store.delete(id)
    new = for {_id, namespace} <- found, Store.put(namespace) == :new, do: namespace
    Store.count(:gone, length(gone))
    Store.count(:came, length(new))
    Store.set(:dropped, dropped)
    if new != [], do: Scraper.fresh()
    {:noreply, config, config.discover_every}
  end

  @doc "What is there now, by id, the VM's own namespace excepted; and how many were too many."
  @spec scan(Config.t()) :: {%{String.t() => Namespace.t()}, dropped :: non_neg_integer()}
  def scan(config) do
    {:ok, %{major_device: nsfs, inode: own}} = follow("/proc/self/ns/net")

    # Files come before processes, in the order of the directories.
    places =
      for place <- files(config.dirs) ++ Enum.flat_map(List.wrap(config.proc), &processes/1),
          {:ok, %{major_device: ^nsfs, inode: inode, ctime: made}} when inode != own <-
            [look(place)],
          do: Map.merge(place, %{inode: inode, made: made})

    same = Enum.group_by(places, & &1.inode)

    {found, dropped} =
      places
      |> Enum.uniq_by(& &1.inode)
      |> Enum.reduce(%{}, &add(same[&1.inode], &2))
      |> Enum.filter(fn {id, _} -> config.only == nil or id =~ config.only end)
      |> Enum.sort()
      |> Enum.split(config.max_namespaces)

    {Map.new(found), length(dropped)}
  end

  # No name has a slash, and every path has.
  defp add([best | _] = places, found) do
    id = if is_map_key(found, best.name), do: Text.readable(best.path), else: best.name

    Map.put(found, id, %Namespace{
      id: id,
      identity: {best.inode, best.made},
      paths: for(%{path: path} <- Enum.take(places, @max_paths), do: path),
      processes: Enum.count(places, &(&1.kind == :process))
    })
  end

  defp files(dirs) do
    for dir <- dirs, name <- list(dir) do
      %{kind: :file, name: Text.readable(name), path: dir <> "/" <> name}
    end
  end

  defp processes(proc) do
    pids = for name <- list(proc), {pid, ""} <- [Integer.parse(name)], do: pid

    for pid <- Enum.sort(pids),
        do: %{kind: :process, name: "pid:#{pid}", path: "#{proc}/#{pid}/ns/net"}
  end

  defp list(dir) do
    case :file.list_dir_all(dir) do
      {:ok, names} -> Enum.map(names, &bytes/1)
      {:error, _} -> []
    end
  end

  # Names are bytes. What is not in the file system's encoding comes as a binary already.
  defp bytes(name) when is_binary(name), do: name

  defp bytes(name),
    do: :unicode.characters_to_binary(name, :unicode, :file.native_name_encoding())

  # An inode that nothing keeps is made anew for each look, which is so of procfs, and behind a link to it.
  defp look(%{kind: :process, path: path}), do: follow(path)

  defp look(%{kind: :file, path: path}) do
    with {:ok, %{type: :symlink}} <- stat(&:file.read_link_info/2, path), do: follow(path)
  end

  defp follow(path) do
    with {:ok, stat} <- stat(&:file.read_file_info/2, path), do: {:ok, %{stat | ctime: nil}}
  end

  # Raw, as the file server would be one queue for everybody; with times that need no calendar.
  defp stat(read, path) do
    with {:ok, info} <- read.(path, [:raw, time: :posix]), do: {:ok, File.Stat.from_record(info)}
  end
end
