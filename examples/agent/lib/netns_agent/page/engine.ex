defmodule NetnsAgent.Page.Engine do
  @moduledoc """
  EEx that escapes: what `<%= %>` puts into the page is text unless it is `{:safe, html}`, so that
  forgetting to escape is not possible. A block inside (`for`, `if`) is safe HTML.
  """

  @behaviour EEx.Engine

  alias NetnsAgent.Escape

  @impl true
  defdelegate init(options), to: EEx.Engine

  @impl true
  defdelegate handle_body(state), to: EEx.Engine

  @impl true
  defdelegate handle_begin(state), to: EEx.Engine

  @impl true
  defdelegate handle_text(state, meta, text), to: EEx.Engine

  @impl true
  def handle_end(state), do: {:safe, EEx.Engine.handle_end(state)}

  @impl true
  def handle_expr(state, "=", expr) do
    html = quote(do: unquote(__MODULE__).html(unquote(assigns(expr))))
    EEx.Engine.handle_expr(state, "=", html)
  end

  def handle_expr(state, marker, expr), do: EEx.Engine.handle_expr(state, marker, assigns(expr))

  @doc false
  @spec html(term()) :: binary()
  def html({:safe, html}), do: IO.iodata_to_binary(html)
  def html(nil), do: ""
  def html(text) when is_binary(text), do: Escape.html(text)
  def html(list) when is_list(list), do: list |> Enum.map(&html/1) |> IO.iodata_to_binary()
  def html(other), do: other |> to_string() |> Escape.html()

  defp assigns(expr), do: Macro.prewalk(expr, &EEx.Engine.handle_assign/1)
end
