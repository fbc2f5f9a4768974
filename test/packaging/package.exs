# Copies what `mix hex.build` would take into the directory that is the argument.
[to] = System.argv()
package = Mix.Project.config()[:package]
excluded = Keyword.get(package, :exclude_patterns, [])

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
