defmodule Nlns.VM.Signals do
  @moduledoc false
  # Tells a process of every signal that the VM takes.
  @behaviour :gen_event

  def init({to, _}), do: {:ok, to}
  def handle_event(signal, to), do: send(to, signal) && {:ok, to}
  def handle_call(_, to), do: {:ok, :ok, to}
end
