defmodule NetnsAgent.Namespace do
  @moduledoc """
  A network namespace that was found, and the ways into it.

    * `id` - what people call it: the name of its file, or `pid:PID` if only processes hold it
    * `inode` - tells it from others that exist at the same time. The kernel gives the number to the next
      namespace as soon as this one is gone, so it does not tell it from later ones: see the cookie in
      `NetnsAgent.Sample`
    * `places` - what `Nlns` takes for a namespace, best first: files outlive processes
    * `processes` - how many processes were in it when it was found, threads not counted
  """

  @enforce_keys [:id, :inode, :places]
  defstruct [:id, :inode, :places, processes: 0]

  @type t :: %__MODULE__{
          id: String.t(),
          inode: pos_integer(),
          places: [Nlns.netns(), ...],
          processes: non_neg_integer()
        }

  @doc """
  A place as a path, for people.

      iex> NetnsAgent.Namespace.path({:pid, 1})
      "/proc/1/ns/net"
  """
  @spec path(Nlns.netns()) :: binary()
  def path({:pid, pid}), do: "/proc/#{pid}/ns/net"
  def path(path) when is_binary(path), do: path
end
