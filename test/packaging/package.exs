# Copies what `mix hex.build` would take into the directory that is the argument, and fails where Hex
# would refuse or warn.
[to] = System.argv()
config = Mix.Project.config()
package = config[:package]
excluded = Keyword.get(package, :exclude_patterns, [])

wants = [
  {"a version", match?({:ok, _}, Version.parse(config[:version]))},
  {"a description of 1 to 300 characters", String.length(config[:description]) in 1..300},
  {"SPDX's names of the licenses", package[:licenses] == ["Apache-2.0"]},
  {"links", Enum.all?(package[:links], &match?({_, "https://" <> _}, &1))},
  {"dependencies from Hex only", config[:deps] == []}
]

for {what, false} <- wants, do: Mix.raise("mix.exs: Hex wants #{what}")

files =
  for pattern <- package[:files],
      found = Path.wildcard(pattern, match_dot: true),
      found != [] || Mix.raise("no file is called #{pattern}"),
      path <- found,
      file <- [path | Path.wildcard("#{path}/**", match_dot: true)],
      File.regular?(file),
      not Enum.any?(excluded, &(file =~ &1)) do
    file
  end

for file <- files do
  target = Path.join(to, file)
  File.mkdir_p!(Path.dirname(target))
  File.cp!(file, target)
end
