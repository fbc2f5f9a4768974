defmodule Mix.Tasks.Nlns.Doctor do
  @shortdoc "Says whether nlns can be used here"
  @moduledoc """
  Says whether this machine and this user can use nlns: `mix nlns.doctor`

  Every requirement is checked, the last two by opening sockets for real, and each failure comes with
  what to do about it. Ends with status 1 if something is missing. `Nlns.Doctor` is the same without Mix.
  """
  use Mix.Task

  @impl true
  def run(args) do
    if args != [],
      do: Mix.raise("mix nlns.doctor takes no arguments, got: #{Enum.join(args, " ")}")

    Mix.Task.run("app.config")
    with :error <- Nlns.Doctor.report(), do: exit({:shutdown, 1})
  end
end
