defmodule Bench.Machine do
  @moduledoc "What the figures were measured on, and with."

  def describe(size) do
    %{
      date: DateTime.utc_now() |> DateTime.truncate(:second) |> DateTime.to_iso8601(),
      size: size,
      cpu: cpu_model(),
      cores: :erlang.system_info(:logical_processors_available),
      schedulers: :erlang.system_info(:schedulers_online),
      kernel: kernel(),
      load_before: load(),
      otp: otp(),
      elixir: System.version(),
      rustc: version("rustc", ["--version"]),
      nlns: "#{Application.spec(:nlns, :vsn)} (#{version("git", ~w(describe --always --dirty))})"
    }
  end

  def summary(m) do
    "nlns #{m.nlns} on #{m.cores} x #{m.cpu}, Linux #{m.kernel}, OTP #{m.otp}, Elixir #{m.elixir}, " <>
      "#{m.rustc}; load #{m.load_before}; #{m.date}, #{m.size} run"
  end

  defp cpu_model do
    case Regex.run(~r/^model name\s*: (.*)$/m, File.read!("/proc/cpuinfo")) do
      [_, model] -> model
      nil -> to_string(:erlang.system_info(:system_architecture))
    end
  end

  defp kernel, do: "/proc/sys/kernel/osrelease" |> File.read!() |> String.trim()
  defp load, do: "/proc/loadavg" |> File.read!() |> String.split() |> hd()

  defp otp do
    release = to_string(:erlang.system_info(:otp_release))

    case File.read(Path.join([:code.root_dir(), "releases", release, "OTP_VERSION"])) do
      {:ok, version} -> String.trim(version)
      {:error, _} -> release
    end
  end

  defp version(command, arguments) do
    case System.find_executable(command) && System.cmd(command, arguments, stderr_to_stdout: true) do
      {output, 0} -> String.trim(output)
      _ -> "unknown"
    end
  end
end
