defmodule Nlns.ConfigTest do
  use Nlns.NetnsCase
  @moduletag netns: false
  doctest Nlns.Config

  alias Nlns.Config

  test "defaults are 256 helpers, a second, 10,000 requests per path" do
    assert Config.new!([]) == %Config{max_helpers: 256, idle_timeout: 1_000, max_queue: 10_000}
  end

  test "each setting takes its whole range" do
    for {key, values} <- [
          max_helpers: [1, 4_194_304],
          idle_timeout: [0, 4_294_967_295],
          max_queue: [1, 1_000_000_000]
        ],
        value <- values do
      assert %{^key => ^value} = Config.new!([{key, value}])
    end
  end

  test "a wrong value is named, with its key and what is expected" do
    for {key, values, expected} <- [
          {:max_helpers, [0, -1, 4_194_305, 1.0, "256", nil, :infinity],
           "an integer from 1 to 4194304 (threads)"},
          {:idle_timeout, [-1, 4_294_967_296, 0.5, nil, :never],
           ":infinity or an integer from 0 to 4294967295 (ms)"},
          {:max_queue, [0, 1_000_000_001, nil, :infinity],
           "an integer from 1 to 1000000000 (requests per path)"}
        ],
        value <- values do
      message = "config :nlns, #{key}: expected #{expected}, got: #{inspect(value)}"
      assert_raise ArgumentError, message, fn -> Config.new!([{key, value}]) end
    end
  end

  test "an application with a wrong setting does not start, and says why" do
    before = Application.get_all_env(:nlns)
    on_exit(fn -> start_with(before) end)
    Application.stop(:nlns)

    for {key, value, text} <- [
          {:max_helpers, 0, "config :nlns, max_helpers: expected an integer from 1"},
          {:idle_timout, 5, "config :nlns, idle_timout: no such key"}
        ] do
      Application.put_env(:nlns, key, value)
      assert {:error, reason} = Application.start(:nlns)
      assert inspect(reason, limit: :infinity, printable_limit: :infinity) =~ text
      assert Nlns.info() == nil
      Application.delete_env(:nlns, key)
    end

    assert Proc.pool_threads() == []
  end
end
