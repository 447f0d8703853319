//! The plan of src/: a room uses only rooms below it, and no files use each other in a circle.
//!
//! Read from the paths in the code (`use` lines and paths in place), tests aside. A path to what a `mod.rs`
//! only re-exports counts as a use of that `mod.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// From the top down; rooms of one line do not use each other.
const ROOMS: [&[&str]; 13] = [
    &["main", "lib"],
    &["cli"],
    &["daemon"],
    &["http", "check", "offline_export"],
    &["backup", "bench"],
    &["engine"],
    &["replication"],
    &["store"],
    &["auth"],
    &["domain", "journal"],
    &["numbers", "state", "disk"],
    &["client", "sys"],
    &["log", "histogram", "coordinates"],
];

type Module = Vec<String>;
type Files = BTreeMap<Module, String>;

/// All source files by their module path, without comments, strings' contents and tests.
fn files() -> Files {
    fn collect(dir: &Path, module: &[String], files: &mut Files) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            let mut module = module.to_vec();
            if path.is_dir() {
                module.push(name);
                collect(&path, &module, files);
            } else if let Some(stem) = name.strip_suffix(".rs") {
                // Tests and models of a room may use what they like of it.
                if matches!(stem, "tests" | "models") {
                    continue;
                }
                if stem != "mod" {
                    module.push(stem.to_owned());
                }
                let source = fs::read_to_string(&path).unwrap();
                let source = source.split("#[cfg(test)]\n").next().unwrap().to_owned();
                files.insert(module, source);
            }
        }
    }
    let mut files = Files::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut files);
    files
}

/// The paths that a `use` tree names: `a::{b, c::d}` are `a::b` and `a::c::d`.
fn expand(tree: &str, prefix: &str, paths: &mut Vec<String>) {
    let (mut depth, mut start) = (0, 0);
    let mut parts = Vec::new();
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tree[start..]);
    for part in parts.into_iter().map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('{') {
            Some((head, rest)) => {
                expand(rest.trim_end().trim_end_matches('}'), &format!("{prefix}{head}"), paths);
            }
            None => paths.push(format!("{prefix}{part}")),
        }
    }
}

/// All paths of a file that begin in this crate, as written.
fn paths(source: &str) -> Vec<String> {
    let code: String =
        source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut paths = Vec::new();
    let mut rest = code.as_str();
    while let Some(at) = rest.find("use ") {
        let begins = rest[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || c == ')');
        rest = &rest[at + 4..];
        if begins && let Some(end) = rest.find(';') {
            expand(&rest[..end], "", &mut paths);
        }
    }
    for (at, _) in code.match_indices("crate::") {
        // Who may see something is not who uses it.
        if code[..at].ends_with("(in ") {
            continue;
        }
        let path = code[at..].split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next();
        paths.push(path.unwrap_or_default().to_owned());
    }
    paths
}

/// The file that a path names something of; a path that begins outside the crate names none.
fn resolve(files: &Files, from: &Module, path: &str) -> Option<Module> {
    let path = path.split(" as ").next()?;
    let mut parts = path.split("::").map(str::trim).peekable();
    let mut module = match *parts.peek()? {
        "crate" => Module::new(),
        "super" | "self" => from.clone(),
        child => {
            let mut module = from.clone();
            module.push(child.to_owned());
            files.contains_key(&module).then(|| from.clone())?
        }
    };
    for part in parts {
        match part {
            "crate" | "self" => {}
            "super" => {
                module.pop();
            }
            part => {
                module.push(part.to_owned());
                if !files.contains_key(&module) {
                    module.pop();
                    break;
                }
            }
        }
    }
    // The root defines nothing but the rooms.
    (!module.is_empty() && files.contains_key(&module)).then_some(module)
}

/// For each file the files that it uses.
fn arrows(files: &Files) -> BTreeMap<&Module, BTreeSet<Module>> {
    let used = |(file, source): (&Module, &String)| {
        let used =
            paths(source).iter().filter_map(|path| resolve(files, file, path)).collect::<BTreeSet<_>>();
        used.into_iter().filter(|used| used != file).collect::<BTreeSet<_>>()
    };
    files.iter().map(|(file, source)| (file, used((file, source)))).collect()
}

fn name(module: &Module) -> String {
    if module.is_empty() { "lib".to_owned() } else { module.join("/") }
}

fn floor(module: &Module) -> usize {
    let room = module.first().map_or("lib", String::as_str);
    ROOMS
        .iter()
        .position(|rooms| rooms.contains(&room))
        .unwrap_or_else(|| panic!("no floor for the room {room}"))
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    let files = files();
    assert!(files.len() > 150, "{} files", files.len());
    let mut up = Vec::new();
    let mut all = 0;
    for (file, used) in arrows(&files) {
        for used in used {
            all += 1;
            if file.first() != used.first() && floor(file) >= floor(&used) {
                up.push(format!("{} uses {}", name(file), name(&used)));
            }
        }
    }
    assert!(all > 500, "{all} arrows");
    assert!(up.is_empty(), "{} arrows that run up or sideways:\n{}", up.len(), up.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let files = files();
    let arrows = arrows(&files);
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        arrows.keys().map(|&file| (file, reach(file, &arrows))).collect();
    let mut circles = Vec::new();
    for (file, used) in &arrows {
        let back = used.iter().filter(|used| reached[used].contains(file)).map(name).collect::<Vec<_>>();
        if !back.is_empty() {
            circles.push(format!("{} uses {}", name(file), back.join(", ")));
        }
    }
    assert!(circles.is_empty(), "{} files in circles:\n{}", circles.len(), circles.join("\n"));
}

/// All files that one uses, by way of others too.
fn reach<'a>(from: &Module, arrows: &'a BTreeMap<&Module, BTreeSet<Module>>) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&Module> = arrows[from].iter().collect();
    while let Some(file) = open.pop() {
        if reached.insert(file) {
            open.extend(&arrows[file]);
        }
    }
    reached
}

fn design() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/design.md")).unwrap()
}

#[test]
fn the_documented_plan_is_this_one() {
    let design = design();
    let levels = design.split("The levels, from the top: ").nth(1).expect("the levels");
    let levels = levels.split("\n\n").next().unwrap().trim_end().trim_end_matches('.').replace('\n', " ");
    let rooms = |level: &str| {
        level.split_whitespace().map(|room| room.trim_matches('`').to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(levels.split('|').map(rooms).collect::<Vec<_>>(), ROOMS.map(<[&str]>::to_vec));
    for room in files().keys().filter(|module| !module.is_empty()).map(|module| &module[0]) {
        let is_named =
            [format!("`{room}/`"), format!("`{room}.rs`")].iter().any(|name| design.contains(name));
        assert!(is_named, "docs/design.md does not say what the room {room} is for");
    }
}

#[test]
fn the_document_names_each_group_of_calls() {
    let (files, design) = (files(), design());
    let calls = files.keys().filter(|module| module.len() == 3 && module[..2] == ["http", "calls"]);
    // The page, its documents and the health of the process are no calls on pools.
    let calls = calls.filter(|module| !["page", "openapi", "health"].contains(&module[2].as_str()));
    let missing: Vec<_> = calls
        .filter(|module| {
            let name = &module[2];
            !design.contains(&format!("`{name}.rs`"))
                && !design.contains(&format!("`{name}/`"))
                && !design.contains(&format!("http/calls/{name}.rs`"))
        })
        .map(name)
        .collect();
    assert!(missing.is_empty(), "docs/design.md has no row for {}", missing.join(", "));
}

#[test]
fn paths_are_read_as_rust_reads_them() {
    let mut files = Files::new();
    for module in ["", "a", "a/b", "a/c", "d"] {
        files.insert(
            module.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            String::new(),
        );
    }
    let from: Module = vec!["a".to_owned(), "b".to_owned()];
    let mut used = paths(
        "use super::c::{self, X, y::Z as W};\npub(crate) use crate::{d::E, a::F};\nlet g = crate::d::g();",
    );
    used.sort();
    let used: BTreeSet<String> =
        used.iter().filter_map(|path| resolve(&files, &from, path)).map(|m| name(&m)).collect();
    assert_eq!(used, ["a", "a/c", "d"].map(str::to_owned).into());
    assert_eq!(resolve(&files, &from, "std::fmt"), None);
}
