//! Imports point one way: no two modules of a crate depend on each other, however indirectly, and none of the
//! core on a module that its README has in a later layer. A module and its children count as one.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use support::skipped;

type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn core_imports_point_one_way() {
    let Some(imports) = imports("src") else {
        return;
    };
    assert_eq!(circle(&imports), None);
}

#[test]
fn border_imports_point_one_way() {
    let Some(imports) = imports("../nlns/src") else {
        return;
    };
    assert_eq!(circle(&imports), None);
}

#[test]
fn circle_is_found() {
    let Some(mut imports) = imports("src") else {
        return;
    };
    assert!(imports["pool"].contains("shared"));
    // The arrow that once made the pool a part of all it is made of.
    imports.get_mut("shared").unwrap().insert("pool".to_owned());
    let circle = circle(&imports).unwrap();
    assert!(circle.contains(&"pool".to_owned()) && circle.contains(&"shared".to_owned()));
}

#[test]
fn readme_layers_are_in_order() {
    let (Some(imports), Some(readme)) = (imports("src"), in_crate("README.md")) else {
        return;
    };
    let layers = layers(&fs::read_to_string(readme).unwrap());
    let named: BTreeSet<_> = layers.keys().collect();
    assert_eq!(named, imports.keys().collect());
    assert_eq!(upward(&imports, &layers), []);
}

#[test]
fn upward_import_is_found() {
    let (Some(mut imports), Some(readme)) = (imports("src"), in_crate("README.md")) else {
        return;
    };
    let layers = layers(&fs::read_to_string(readme).unwrap());
    // No circle: `idle` does not need the clock.
    imports.get_mut("clock").unwrap().insert("idle".to_owned());
    assert_eq!(circle(&imports), None);
    let found = upward(&imports, &layers);
    assert_eq!(found, [("clock".to_owned(), "idle".to_owned())]);
}

/// A path in this crate. None where the test runs without its sources.
fn in_crate(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if !path.exists() {
        skipped("the sources are not where they were compiled");
        return None;
    }
    Some(path)
}

/// Which modules each module of a crate names, tests left out.
fn imports(source: &str) -> Option<Imports> {
    let root = in_crate(source)?;
    let mut imports = Imports::new();
    read(&root, None, &mut imports);
    let modules: BTreeSet<_> = imports.keys().cloned().collect();
    for (module, named) in &mut imports {
        named.retain(|name| modules.contains(name) && name != module);
    }
    Some(imports)
}

fn read(directory: &Path, module: Option<&str>, imports: &mut Imports) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let module = module.unwrap_or(name);
        if path.is_dir() {
            read(&path, Some(module), imports);
        } else if module != "lib" && name != "tests" {
            let text = fs::read_to_string(&path).unwrap();
            let named = imports.entry(module.to_owned()).or_default();
            named.extend(named_in(&text));
        }
    }
}

/// The modules that a source file names: `use crate::{a::B, c}` and `crate::d::e()`.
fn named_in(text: &str) -> Vec<String> {
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
    let code: Vec<_> = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let paths = code.split("crate::").skip(1);
    paths.flat_map(first_names).collect()
}

/// The first name of each path in `a::b`, or in `{a::b, c}`.
fn first_names(paths: &str) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let Some(group) = paths.strip_prefix('{') else {
        return vec![paths.chars().take_while(|c| is_name(*c)).collect()];
    };
    let mut depth = 0;
    let group: String = group
        .chars()
        .take_while(|c| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth >= 0
        })
        .collect();
    let mut names = Vec::new();
    let mut depth = 0;
    let mut name = String::new();
    for c in group.chars().chain([',']) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let first = name.trim().split("::").next().unwrap_or_default();
                names.push(first.to_owned());
                name.clear();
            }
            _ => name.push(c),
        }
    }
    names
}

/// The modules that `start` depends on, however indirectly.
fn reached(imports: &Imports, start: &String) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next = vec![start];
    while let Some(module) = next.pop() {
        let named = imports.get(module).into_iter().flatten();
        next.extend(named.filter(|name| reached.insert((*name).clone())));
    }
    reached
}

/// Modules that depend on each other, if there are any.
fn circle(imports: &Imports) -> Option<Vec<String>> {
    let in_circle = |module: &&String| reached(imports, module).contains(*module);
    let first = imports.keys().find(in_circle)?;
    let depends_on_first = |module: &String| reached(imports, module).contains(first);
    let reached = reached(imports, first).into_iter();
    Some(reached.filter(depends_on_first).collect())
}

/// The number of the layer of each module, by the table below "## Layers".
fn layers(readme: &str) -> BTreeMap<String, usize> {
    let (_, table) = readme.split_once("\n## Layers\n").unwrap();
    let rows = table.lines().filter(|line| line.starts_with('|'));
    let mut layers = BTreeMap::new();
    for (layer, row) in rows.enumerate() {
        for module in row.split('`').skip(1).step_by(2) {
            let before = layers.insert(module.to_owned(), layer);
            assert_eq!(before, None, "{module} is in two layers");
        }
    }
    layers
}

/// Imports from a layer into a later one.
fn upward(imports: &Imports, layers: &BTreeMap<String, usize>) -> Vec<(String, String)> {
    let pairs = imports.iter().flat_map(|(module, named)| {
        let pair = |name: &String| (module.clone(), name.clone());
        named.iter().map(pair)
    });
    pairs
        .filter(|(module, name)| layers[module] < layers[name])
        .collect()
}

#[test]
fn every_form_of_import_is_read() {
    let text = "use crate::a::B;\nuse crate::{c, d::{E, f}, g::h};\n// crate::not\nlet x = crate::i::j();\n";
    assert_eq!(named_in(text), ["a", "c", "d", "g", "i"]);
}
