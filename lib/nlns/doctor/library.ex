defmodule Nlns.Doctor.Library do
  @moduledoc false
  # What was built and installed: the native half, and the application that runs it.

  import Nlns.Doctor, only: [check: 3, check: 4]

  @spec checks(map()) :: [Nlns.Doctor.check()]
  def checks(facts), do: [library(facts), application(facts)]

  defp library(%{library: {:ok, path}}), do: check("native library", :ok, path)

  defp library(%{library: {:error, {found, way_out}}}) do
    check("native library", :missing, found, way_out)
  end

  defp application(%{application: :ok}), do: check("application", :ok, "started")

  defp application(%{application: {:error, text}}) do
    check("application", :missing, "does not start", text)
  end
end
