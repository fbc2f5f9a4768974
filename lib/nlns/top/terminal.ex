defmodule Nlns.Top.Terminal do
  @moduledoc false
  # The terminal that `mix nlns.top` writes to: its size, its keys, and giving it back as it was.

  # Another screen, so that what was there comes back; no cursor. And back.
  @enter "\e[?1049h\e[?25l"
  @leave "\e[?25h\e[?1049l"
  @top_left "\e[H"
  @to_end_of_line "\e[K"
  @to_end_of_screen "\e[J"

  # Ctrl-C too comes as a key: the VM's own way with it asks questions.
  @raw ~w(-icanon -echo -isig min 1 time 0)

  @enforce_keys [:device, :settings]
  defstruct @enforce_keys

  @type t :: %__MODULE__{device: Path.t(), settings: String.t()}

  @doc "The terminal, if both input and output are one; else `nil`. `close/1` it in any case."
  @spec open() :: t() | nil
  def open do
    with {:ok, device} <- File.read_link("/proc/self/fd/0"),
         {:ok, ^device} <- File.read_link("/proc/self/fd/1"),
         {:ok, settings} <- stty(device, ["-g"]),
         {:ok, _} <- stty(device, @raw) do
      IO.write(@enter)
      %__MODULE__{device: device, settings: String.trim(settings)}
    else
      _not_a_terminal -> nil
    end
  end

  @spec close(t() | nil) :: :ok
  def close(nil), do: :ok

  def close(terminal) do
    IO.write(@leave)
    _ = stty(terminal.device, [terminal.settings])
    :ok
  end

  @doc "Sends `:quit` to the calling process when somebody presses q, Ctrl-C or Ctrl-D."
  @spec watch_keys(t() | nil) :: :ok
  def watch_keys(nil), do: :ok

  def watch_keys(_terminal) do
    owner = self()
    spawn_link(fn -> read_keys(owner) end)
    :ok
  end

  defp read_keys(owner) do
    case IO.getn("", 1) do
      key when key in ["q", "Q", <<3>>, <<4>>, :eof] -> send(owner, :quit)
      _other -> read_keys(owner)
    end
  end

  @doc "Rows and columns, anew each time, because windows change; a file has as many as it takes."
  @spec screen(t() | nil) :: Nlns.Top.screen()
  def screen(nil), do: %{rows: 1_000_000, columns: 1_000_000, ansi?: false}

  def screen(_terminal) do
    with {:ok, columns} <- :io.columns(), {:ok, rows} <- :io.rows() do
      %{rows: rows, columns: columns, ansi?: true}
    else
      # It does not say, as those of programs that watch programs.
      _unknown -> %{rows: 24, columns: 80, ansi?: true}
    end
  end

  @doc "Shows a frame: on a terminal in the last one's place, else below it."
  @spec show(t() | nil, iodata()) :: :ok
  def show(nil, frame), do: IO.write([frame, "\n"])

  def show(_terminal, frame) do
    lines = frame |> IO.iodata_to_binary() |> String.split("\n", trim: false)
    # No newline after the last, or a full screen scrolls.
    text = lines |> Enum.drop(-1) |> Enum.intersperse([@to_end_of_line, "\r\n"])
    IO.write([@top_left, text, @to_end_of_line, @to_end_of_screen])
  end

  # Its input must be the terminal; that of a port never is.
  defp stty(device, args) do
    case System.cmd("stty", ["-F", device | args], stderr_to_stdout: true) do
      {output, 0} -> {:ok, output}
      {_output, _status} -> :error
    end
  rescue
    # No stty here.
    ErlangError -> :error
  end
end
