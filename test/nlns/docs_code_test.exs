defmodule Nlns.DocsCodeTest do
  # Every Elixir block of the README and the guides runs as it stands, in the order of the page, with
  # a namespace in the place of "blue".
  use Nlns.NetnsCase

  for page <- ["README.md", "CHANGELOG.md" | Path.wildcard("guides/*.md")] do
    @page page
    test "code of #{page} runs" do
      on_exit(fn -> Nlns.Guide.remove(@page) end)
      path = netns()
      @page |> File.read!() |> blocks() |> run(Path.basename(path))
      Nlns.release(path)
    end
  end

  defp blocks(text) do
    for [_, code] <- Regex.scan(~r/^```elixir\n(.*?)^```/ms, text), do: code
  end

  # In a process of its own, so that whatever it opens and keeps is closed with it.
  defp run(blocks, name) do
    task =
      Task.async(fn ->
        for block <- blocks, do: block |> String.replace("blue", name) |> run_block()

        # Processes that it started and linked end with it, before the test looks for what is left.
        {:links, links} = Process.info(self(), :links)
        for pid <- links, is_pid(pid), pid != hd(Process.get(:"$ancestors")), do: stop(pid)
      end)

    Task.await(task, :infinity)
  end

  defp run_block(block) do
    cond do
      block =~ ~r/^import Config/ -> Nlns.Config.new!(config(block))
      block =~ ~r/^\{:nlns, / -> assert {:nlns, [_ | _]} = eval(block)
      true -> eval(block)
    end
  end

  defp config(block) do
    [nlns: values] = Config.Reader.eval!("config.exs", block)
    values
  end

  defp eval(block) do
    {value, _bindings} = Code.eval_string(block, [], file: "docs")
    value
  end

  defp stop(pid) do
    Process.unlink(pid)
    ref = Process.monitor(pid)
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^ref, _, _, _}, within()
  end
end
