defmodule Nlns.Doctor.Check do
  @moduledoc false

  @typedoc "One requirement: what was found, and what to do about it unless it is `:ok`."
  @type t :: %{
          name: String.t(),
          status: :ok | :optional | :missing,
          found: String.t(),
          hint: String.t() | nil
        }

  @doc "Makes a check that is `:ok`, or else `otherwise`."
  @spec check(String.t(), boolean(), String.t(), String.t() | nil, :optional | :missing) :: t()
  def check(name, ok?, found, hint, otherwise \\ :optional)
  def check(name, true, found, _, _), do: %{name: name, status: :ok, found: found, hint: nil}

  def check(name, _, found, hint, status),
    do: %{name: name, status: status, found: found, hint: hint}
end
