defmodule Nlns.DocsTest do
  # Every Elixir block of the README and the guides runs as it stands, in the order of the page, with
  # a namespace in the place of "blue". And every relative link leads somewhere.
  use Nlns.NetnsCase

  @pages ["README.md", "CHANGELOG.md" | Path.wildcard("guides/*.md")]

  for page <- @pages do
    @page page
    test "the code in #{page} runs" do
      path = netns()
      blocks = blocks(File.read!(@page), "elixir")
      run(blocks, Path.basename(path))
      Nlns.release(path)
    end

    test "the links in #{page} lead to files" do
      text = File.read!(@page)

      for [_, target] <- Regex.scan(~r/\]\(([^)#:]+)(?:#[^)]*)?\)/, text) do
        assert File.exists?(Path.join(Path.dirname(@page), target)), "#{target} in #{@page}"
      end
    end
  end

  test "ExDoc is told of every page, and of modules that are there" do
    docs = Mix.Project.config()[:docs]
    assert Enum.sort(docs[:extras]) == Enum.sort(@pages)

    for {_group, modules} <- docs[:groups_for_modules], module <- modules do
      assert {:docs_v1, _, _, _, %{}, _, _} = Code.fetch_docs(module)
    end
  end

  test "each function of Nlns is in one of the groups, and says since when it is there" do
    groups = Mix.Project.config()[:docs][:groups_for_docs]
    {:docs_v1, _, _, _, _, _, docs} = Code.fetch_docs(Nlns)

    for {{:function, name, _}, _, _, %{}, metadata} <- docs do
      assert [_] = Enum.filter(groups, fn {_, in?} -> in?.(metadata) end), "#{name}"
      assert metadata[:since] == "0.1.0"
    end
  end

  defp blocks(text, language) do
    for [_, code] <- Regex.scan(~r/^```#{language}\n(.*?)^```/ms, text), do: code
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

    Task.await(task, within(10_000))
  end

  defp run_block(block) do
    cond do
      block =~ ~r/^import Config/ -> Nlns.Config.new!(config(block))
      block =~ ~r/^\{:nlns, / -> assert {:nlns, [_ | _]} = eval(block)
      true -> eval(block)
    end
  end

  defp config(block) do
    file = Path.join(tmp_file_dir(), "config.exs")
    File.write!(file, block)
    [nlns: values] = Config.Reader.read!(file)
    File.rm!(file)
    values
  end

  defp tmp_file_dir do
    dir = Path.join(System.tmp_dir!(), Nlns.Netns.unique("nlnsdocs"))
    File.mkdir_p!(dir)
    dir
  end

  defp eval(block) do
    {value, _bindings} = Code.eval_string(block, [], file: "docs")
    value
  end

  defp stop(pid) do
    Process.unlink(pid)
    ref = Process.monitor(pid)
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^ref, _, _, _}, within(5_000)
  end
end
