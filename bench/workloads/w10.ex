defmodule Bench.W10 do
  @moduledoc false
  @behaviour Bench.Workload

  alias Bench.{Container, Contender, Measure, Namespaces, Requirement, Rounds}

  @parallel 100
  @ms %{full: 2_000, quick: 250}
  # The kernel takes namespaces down by turns, in steps of several milliseconds: many short rounds see
  # all contenders in the same of its moods.
  @taken_down 5
  @rounds %{full: 30, quick: 3}
  # Containers live longer than an open takes.
  @life 20

  @impl true
  def title,
    do:
      "churn: make a namespace, open once by /proc/PID/ns/net, destroy; #{@parallel} in parallel"

  @impl true
  def run(size) do
    contenders = [Contender.nlns(), Contender.throwaway(), Contender.otp()]

    churn =
      for contender <- contenders do
        cycle = fn _ -> churn(contender) end

        {{contender.name, @parallel},
         fn -> Measure.throughput(cycle, {nil}, @parallel, @ms[size]) end}
      end

    teardown =
      for contender <- [nobody() | contenders] do
        {{contender.name, nil}, fn -> teardown(contender, @taken_down) end}
      end

    rows = Rounds.run(size, churn) ++ Rounds.run_rounds(@rounds[size], teardown)

    # The kernel's making and destroying is nearly all of it, so "not worse" is what can be asked, and
    # 5 % is what two equal contenders differ by.
    requirements = [
      Requirement.ratio(
        rows,
        "cycles, nlns / throwaway",
        :rate,
        {{"nlns", @parallel}, {"throwaway", @parallel}},
        {:at_least, 0.95}
      ),
      Requirement.ratio(
        rows,
        "teardown, nlns / throwaway",
        :teardown,
        {{"nlns", nil}, {"throwaway", nil}},
        {:at_most, 1.05}
      )
    ]

    %{rows: rows, requirements: requirements, plot: nil}
  end

  defp nobody, do: %Contender{name: "(no open)", open_close: fn _path -> :ok end}

  defp churn(contender) do
    container = Container.start()
    open_close(contender, container)
    Container.stop(container)
  end

  defp open_close(contender, container),
    do: contender.open_close.(contender.prepare.(container.path))

  # From the end of the container's process until the kernel has taken its namespace down, which is
  # when the host's end of its veth pair is gone.
  defp teardown(contender, count) do
    Measure.alone(fn ->
      containers = for i <- 1..count, do: {Container.start(), "nb#{System.pid()}x#{i}"}

      Namespaces.ip!(
        for {container, veth} <- containers do
          "link add #{veth} type veth peer name eth0 netns #{container.pid}"
        end
      )

      times = for {container, veth} <- containers, do: teardown(contender, container, veth)
      %{values: %{teardown: Enum.sum(times) / count}}
    end)
  end

  defp teardown(contender, container, veth) do
    open_close(contender, container)
    Process.sleep(@life)
    start = System.monotonic_time(:microsecond)
    Container.stop(container)
    await_gone(String.to_charlist(veth))
    (System.monotonic_time(:microsecond) - start) / 1000
  end

  defp await_gone(veth) do
    case :net.if_name2index(veth) do
      {:ok, _} ->
        Process.sleep(1)
        await_gone(veth)

      {:error, :enodev} ->
        :ok
    end
  end
end
