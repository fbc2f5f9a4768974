defmodule Nlns.Doctor.Opens do
  @moduledoc false
  # What came of the trial, which is what all the rest is about.

  import Nlns.Doctor, only: [check: 3, check: 4]

  @spec checks(map()) :: [Nlns.Doctor.check()]
  def checks(facts), do: [home(facts), trial("open in another namespace", facts.open_other)]

  # Inside `unshare -Ur` the VM's own namespace belongs to the user namespace outside.
  defp home(%{open_home: {:error, text}, open_other: :ok}) do
    hint =
      text <> "; namespaces made here can be used, at the price of a new thread for each change"

    check("open in the own namespace", :optional, "fails", hint)
  end

  defp home(%{open_home: outcome}), do: trial("open in the own namespace", outcome)

  defp trial(name, :ok), do: check(name, :ok, "works")
  defp trial(name, {:error, text}), do: check(name, :missing, "fails", text)
  defp trial(name, {:skipped, why}), do: check(name, :optional, "not tried", why)
end
