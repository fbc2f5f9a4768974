defmodule Nlns.Doctor.Cgroup do
  @moduledoc false
  # The limit on threads that a control group sets, cgroups(7).

  @doc """
  The limit that is nearest, of the group in `/proc/self/cgroup`'s text and those above it, and how
  many there are; `nil` if there is no limit. `read` is `File.read/1`.
  """
  @spec pids(String.t(), (Path.t() -> {:ok, String.t()} | {:error, atom()})) ::
          {non_neg_integer(), non_neg_integer()} | nil
  def pids(cgroup, read) do
    limits = for directory <- directories(cgroup), limit = limit(directory, read), do: limit
    Enum.min_by(limits, fn {max, current} -> max - current end, fn -> nil end)
  end

  defp directories(cgroup) do
    for line <- String.split(cgroup, "\n", trim: true),
        [_id, controllers, group] = String.split(line, ":", parts: 3),
        root = root(String.split(controllers, ",")),
        above <- above(group),
        do: root <> above
  end

  # Version 2, where all controllers share one hierarchy, and version 1.
  defp root([""]), do: "/sys/fs/cgroup"
  defp root(controllers), do: "pids" in controllers && "/sys/fs/cgroup/pids"

  defp above("/"), do: ["/"]
  defp above(group), do: [group | above(Path.dirname(group))]

  defp limit(directory, read) do
    with {:ok, max} <- read.(Path.join(directory, "pids.max")),
         {:ok, current} <- read.(Path.join(directory, "pids.current")),
         {max, "\n"} <- Integer.parse(max),
         {current, "\n"} <- Integer.parse(current) do
      {max, current}
    else
      _none_or_max -> nil
    end
  end
end
