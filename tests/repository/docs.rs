//! The documentation: its links lead somewhere, its JSON is JSON, and it names every command, flag, error and alert.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use allotd::cli::Cli;
use clap::{Command, CommandFactory};

/// A page: its place in the repository, and its text.
struct Page {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a directory of the repository that have this extension, in order.
fn files(directory: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root().join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

impl Page {
    fn read(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), text }
    }

    /// README, changelog and the book.
    fn all() -> Vec<Self> {
        let mut paths = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
        paths.extend(files("docs", "md"));
        assert!(paths.len() > 10, "{paths:?}");
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// Lines, each with the language of the code block that it is in; the fences themselves are left out.
    fn lines(&self) -> Vec<(Option<&str>, &str)> {
        let mut block = None;
        let mut lines = Vec::new();
        for line in self.text.lines() {
            match line.strip_prefix("```") {
                Some(language) => block = if block.is_some() { None } else { Some(language) },
                None => lines.push((block, line)),
            }
        }
        assert_eq!(block, None, "{}: a code block does not end", self.path);
        lines
    }

    /// Targets of links outside of code.
    fn links(&self) -> Vec<String> {
        let mut links = Vec::new();
        for (_, line) in self.lines().into_iter().filter(|(block, _)| block.is_none()) {
            for part in without_code(line).split("](").skip(1) {
                let target = part.split(')').next().unwrap();
                links.push(target.split_whitespace().next().unwrap_or_default().to_owned());
            }
        }
        links
    }

    /// Titles of its headings, with their level.
    fn headings(&self) -> Vec<(usize, &str)> {
        let lines = self.lines().into_iter().filter(|(block, _)| block.is_none());
        let heading = lines.filter_map(|(_, line)| {
            let title = line.trim_start_matches('#');
            let level = line.len() - title.len();
            (level > 0).then(|| title.strip_prefix(' ').map(|title| (level, title.trim())))?
        });
        heading.collect()
    }

    /// What a link can have after its `#`, as GitHub and mdBook make it of the headings.
    fn anchors(&self) -> BTreeSet<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let anchor = |(_, title): (usize, &str)| {
            let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            let slug = kept.collect::<String>().to_lowercase().replace(' ', "-");
            let times = seen.entry(slug.clone()).or_default();
            *times += 1;
            if *times > 1 { format!("{slug}-{}", *times - 1) } else { slug }
        };
        self.headings().into_iter().map(anchor).collect()
    }

    /// The text below a heading, down to the next one.
    fn section(&self, title: &str) -> Option<String> {
        let mut lines = self.text.lines().skip_while(|line| line.trim_start_matches('#').trim() != title);
        lines.next()?;
        Some(lines.take_while(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n"))
    }
}

/// A line without what stands between backquotes, so that `](` in there is no link.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// A path without `..` in it.
fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.to_str().unwrap().split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            other => parts.push(other),
        }
    }
    parts.join("/")
}

#[test]
fn every_link_and_anchor_leads_somewhere() {
    let pages = Page::all();
    let mut checked = 0;
    for page in &pages {
        for link in page.links() {
            if link.starts_with("https://") {
                continue;
            }
            checked += 1;
            let (target, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let directory = Path::new(&page.path).parent().unwrap();
            let path = if target.is_empty() { page.path.clone() } else { normal(&directory.join(target)) };
            assert!(root().join(&path).exists(), "{}: {link} leads nowhere", page.path);
            if !anchor.is_empty() {
                let found = Page::read(&path).anchors().contains(anchor);
                assert!(found, "{}: {link}: {path} has no heading for it", page.path);
            }
        }
    }
    assert!(checked > 100, "only {checked} links found");
}

#[test]
fn every_page_is_in_the_book_once() {
    let mut listed: Vec<_> =
        Page::read("docs/SUMMARY.md").links().iter().map(|link| format!("docs/{link}")).collect();
    listed.sort();
    let pages = files("docs", "md").into_iter().filter(|path| path != "docs/SUMMARY.md");
    assert_eq!(listed, pages.collect::<Vec<_>>());
}

#[test]
fn every_file_of_docs_that_anything_names_is_there() {
    let mut sources = files("src", "rs");
    sources.extend(files("benches", "rs"));
    let mut pages = Page::all();
    pages.extend(sources.iter().map(|path| Page::read(path)));
    let mut checked = 0;
    for page in &pages {
        for part in page.text.split("docs/").skip(1) {
            let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c)));
            let name = part[..end.unwrap_or(part.len())].trim_end_matches(['.', '/']);
            let path = format!("docs/{name}");
            // What has no extension is a directory, or the end of an address such as https://a/docs/b.
            if name.contains('.') {
                checked += 1;
                assert!(root().join(&path).exists(), "{} names {path}, which is not there", page.path);
            }
        }
    }
    assert!(checked > 5, "only {checked} names found");
}

#[test]
fn source_files_that_pages_name_exist() {
    let sources: Vec<_> =
        ["src", "tests", "benches", "fuzz"].iter().flat_map(|directory| files(directory, "rs")).collect();
    let mut named = 0;
    for page in Page::all().iter().filter(|page| page.path != "CHANGELOG.md") {
        for (_, line) in page.lines().iter().filter(|(block, _)| block.is_none()) {
            for name in line.split('`').skip(1).step_by(2).filter(|name| name.strip_suffix(".rs").is_some()) {
                named += 1;
                let exists = sources.iter().any(|path| path == name || path.ends_with(&format!("/{name}")));
                assert!(exists, "{}: no source file is {name}", page.path);
            }
        }
    }
    assert!(named > 100, "{named}");
}

#[test]
fn json_in_the_docs_is_json() {
    let mut checked = 0;
    for page in Page::all() {
        let mut text = String::new();
        for (block, line) in page.lines().into_iter().chain([(None, "")]) {
            if block == Some("json") {
                text.push_str(line);
                text.push('\n');
            } else if !text.is_empty() {
                let parsed: Result<Vec<serde_json::Value>, _> =
                    serde_json::Deserializer::from_str(&text).into_iter().collect();
                assert!(parsed.is_ok(), "{}: {parsed:?} in {text}", page.path);
                checked += 1;
                text.clear();
            }
        }
    }
    assert!(checked > 10, "only {checked} blocks of JSON found");
}

/// Every command with its long flags, by its whole name.
fn commands() -> BTreeMap<String, BTreeSet<String>> {
    fn add(command: &Command, name: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
        let flags = command.get_arguments().filter(|argument| !argument.is_hide_set());
        let flags = flags.filter_map(|argument| argument.get_long());
        found.insert(name.to_owned(), flags.map(|flag| format!("--{flag}")).collect());
        for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            add(command, &format!("{name} {}", command.get_name()), found);
        }
    }
    let mut found = BTreeMap::new();
    add(&Cli::command(), "allotd", &mut found);
    assert!(found.len() > 20, "{found:?}");
    found
}

/// Every `--flag` of a text.
fn flags(text: &str) -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    for word in text.split(|c: char| c.is_whitespace() || "`\"|(),.:;=[]".contains(c)) {
        if word.strip_prefix("--").is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase())) {
            flags.insert(word.to_owned());
        }
    }
    flags
}

#[test]
fn the_command_line_page_has_every_command_and_flag_and_none_else() {
    let page = Page::read("docs/command-line.md");
    let commands = commands();
    let titles: BTreeSet<_> = page.headings().into_iter().skip(1).map(|(_, title)| title).collect();
    let known: BTreeSet<_> = commands.keys().map(String::as_str).filter(|name| *name != "allotd").collect();
    assert_eq!(titles, known);
    // Said once, before the commands.
    let daemon = ["--server", "--ca", "--client-certificate", "--client-key", "--token-file", "--json"];
    let common: BTreeSet<_> = daemon.into_iter().chain(["--help", "--version"]).map(str::to_owned).collect();
    let (head, _) = page.text.split_once("\n## ").unwrap();
    assert!(common.is_subset(&flags(head)), "{:?}", flags(head));
    for (name, known) in commands.iter().filter(|(name, _)| *name != "allotd") {
        let section = page.section(name).unwrap();
        let own: BTreeSet<_> = known.difference(&common).cloned().collect();
        let in_section = flags(&section);
        let in_section: BTreeSet<_> = in_section.difference(&common).cloned().collect();
        assert_eq!(in_section, own, "{name}");
        let is_parent = commands.keys().any(|other| other.starts_with(&format!("{name} ")));
        assert!(
            is_parent || section.contains(&format!("{name} ")) || section.contains(&format!("{name}\n")),
            "{name} has no example"
        );
    }
}

#[test]
fn flags_that_other_pages_name_exist() {
    let known: BTreeSet<_> = commands().into_values().flatten().collect();
    for page in Page::all() {
        for line in page.text.lines().filter(|line| line.contains("allotd ") && !line.contains("cargo")) {
            let (_, command) = line.split_once("allotd ").unwrap();
            let command = command.split(['#', '`']).next().unwrap();
            for flag in flags(command) {
                let built_in = ["--help", "--version"].contains(&flag.as_str());
                assert!(built_in || known.contains(&flag), "{}: {flag} in: {line}", page.path);
            }
        }
    }
}

#[test]
fn the_runbook_has_an_entry_for_every_error_and_every_alert_and_none_else() {
    let page = Page::read("docs/operations/runbook.md");
    // The document is held against the code by tests/openapi.
    let document: serde_json::Value =
        serde_json::from_str(include_str!("../../src/http/openapi.json")).unwrap();
    let codes = document
        .pointer("/components/schemas/Problem/properties/code/enum")
        .and_then(serde_json::Value::as_array)
        .unwrap();
    let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned());
    let rules = fs::read_to_string(root().join("docs/operations/alerts.yml")).unwrap_or_default();
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let entries: BTreeSet<_> =
        page.headings().into_iter().filter(|(level, _)| *level == 3).map(|(_, title)| title).collect();
    let is_alert = |title: &&str| title.starts_with("Allotd");
    let of_codes: BTreeSet<_> =
        entries.iter().filter(|title| !is_alert(title)).map(|t| (*t).to_owned()).collect();
    assert_eq!(of_codes, codes.collect());
    if !alerts.is_empty() {
        let of_alerts: BTreeSet<_> = entries.iter().copied().filter(is_alert).collect();
        assert_eq!(of_alerts, alerts.into_iter().map(|name| name.trim_matches('"')).collect());
    }
    for title in entries {
        let section = page.section(title).unwrap();
        for part in ["**Means**", "sees**", "**Cause**", "**Do**", "**Prevent**"] {
            let there = section.contains(part) || (part == "sees**" && section.contains("**Callers see**"));
            assert!(there, "{title} has no {part}");
        }
    }
}
