//! Lists as people have them: what each becomes, or why it is refused.
//!
//! `fixtures/lists/cases.tsv` has files, each with the flags of the command; `fixtures/lists/more.tsv` has
//! lists in the table itself.

#![allow(clippy::unwrap_used)] // a test that cannot go on

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use support::daemon::{Daemon, one_line_failure};
use support::{Answer, Client, Server};

/// What a refusal must tell, for the cases that tell it in other words. A case that names a flag must name it.
const TOLD: [(&str, &[&str]); 11] = [
    ("a02-float-plus.txt", &["decimal", "exported as a number"]),
    ("a04-two-in-one-cell.txt", &["more than one number"]),
    ("a11-open-quote.csv", &["quote", "not closed", "row at line 2"]),
    ("a16-column-of-range.csv", &["--first start --last end"]),
    ("b12-voucher-leading-zero.txt", &["leading zeros", "--leading-zeros drop"]),
    ("c11-no-header.csv", &["--header no", "--column 1"]),
    ("c18-first-last-names.csv", &["hold no numbers", "--column phone"]),
    ("d11-scientific.csv", &["digits are lost", "7.91212E+10", "as text"]),
    ("d12-float.csv", &["decimal", "exported as a number"]),
    ("d17-two-numbers.txt", &["more than one number"]),
    ("r02-java-legacy64.bin", &["portable format", "SERIALIZATION_MODE_PORTABLE"]),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lists")
}

/// Rows of a table, without comments.
fn rows(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(fixtures().join(name)).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    rows.map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Flags as a shell splits them: quotes keep spaces.
fn split(flags: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for character in flags.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            other => word.push(other),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// What an export holds, as numbers and ranges in ascending order.
fn ranges(export: &str) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in export.lines().map(|line| line.parse::<u64>().unwrap()).collect::<BTreeSet<_>>() {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let shown = |(first, last): (u64, u64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.into_iter().map(shown).collect::<Vec<_>>().join(" ")
}

/// The same set of ranges, merged as an export is.
fn merged(expected: &str) -> String {
    let numbers = expected.split_whitespace().flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<u64>().unwrap()..=last.parse::<u64>().unwrap()
    });
    ranges(&numbers.map(|number| number.to_string()).collect::<Vec<_>>().join("\n"))
}

#[test]
fn every_file_becomes_what_was_meant() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("data"));
    let mut refused = BTreeSet::new();
    for (index, row) in rows("cases.tsv").iter().enumerate() {
        let [file, flags, expected] = &row[..] else { panic!("{row:?}") };
        if matches!(file.as_str(), "a14-retire-skip.txt" | "a15-export-has-states.txt") {
            continue;
        }
        let (pool, path) = (format!("p{index}"), fixtures().join(file));
        let flags = split(flags);
        let mut args = vec!["pool", "create", &pool, path.to_str().unwrap()];
        args.extend(flags.iter().map(String::as_str));
        if expected.starts_with("refused:") {
            let (_, told) = TOLD.iter().find(|(name, _)| name == file).unwrap_or_else(|| panic!("{file}"));
            let output = daemon.run(&args);
            told.iter().for_each(|told| one_line_failure(&output, 1, told));
            refused.insert(file.clone());
        } else {
            daemon.ok(&args);
            assert_eq!(ranges(&daemon.ok(&["pool", "export", &pool])), merged(expected), "{file}");
        }
    }
    assert_eq!(refused.len(), TOLD.len());
}

#[test]
fn what_is_skipped_is_shown_whatever_the_list_is_for() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("data"));
    let path = fixtures().join("a14-retire-skip.txt");
    let file = path.to_str().unwrap();
    daemon.ok(&["pool", "create", "ru", file, "--on-invalid", "skip"]);
    for action in ["create", "add", "retire", "reinstate"] {
        let pool = if action == "create" { "other" } else { "ru" };
        let told = daemon.ok(&["pool", action, pool, file, "--on-invalid", "skip"]);
        for expected in ["invalid", "2", "line:2", "7912123456O", "\"O\" (U+004F)", "line:3", "79121234563 x"] {
            assert!(told.contains(expected), "{action}: {expected} in {told}");
        }
        one_line_failure(&daemon.run(&["pool", action, "ru", file]), 1, if action == "create" { "pool_exists" } else { "line 2" });
    }
    let told = daemon.ok(&["pool", "retire", "ru", file, "--on-invalid", "skip", "--dry-run", "--json"]);
    assert!(told.starts_with("{\"retired\":1,") && told.contains("\"invalid\":2,\"first_invalid\":["), "{told}");
}

#[test]
fn an_export_that_becomes_a_pool_keeps_every_state() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("data"));
    let path = fixtures().join("a15-export-has-states.txt");
    daemon.ok(&["pool", "create", "ru", path.to_str().unwrap()]);
    let retired = directory.path().join("retired.txt");
    fs::write(&retired, "79121234561\n").unwrap();
    daemon.ok(&["pool", "retire", "ru", retired.to_str().unwrap()]);
    let exported = daemon.ok(&["pool", "export", "ru", "--csv"]);
    let export = directory.path().join("export.csv");
    fs::write(&export, &exported).unwrap();
    daemon.ok(&["pool", "create", "again", export.to_str().unwrap()]);
    assert_eq!(daemon.ok(&["pool", "export", "again", "--csv"]), exported);
    assert_eq!(daemon.ok(&["pool", "export", "again", "--state", "retired"]), "79121234561\n");
}

/// The bytes that a cell of the table stands for.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (escape, after) = rest[at + 1..].split_at(1);
        rest = after;
        match escape {
            "n" => bytes.push(b'\n'),
            "r" => bytes.push(b'\r'),
            "t" => bytes.push(b'\t'),
            "\\" => bytes.push(b'\\'),
            "x" => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            "u" => {
                let character = char::from_u32(u32::from_str_radix(&rest[..4], 16).unwrap()).unwrap();
                bytes.extend_from_slice(character.to_string().as_bytes());
                rest = &rest[4..];
            }
            other => panic!("\\{other} in {text}"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// The query that says the same as flags.
fn query(flags: &str) -> String {
    let words = split(flags);
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs = words.chunks(2).map(|pair| {
        format!("{}={}", pair[0].trim_start_matches("--").replace('-', "_"), encoded(&pair[1]))
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn put(client: &mut Client, pool: &str, kind: &str, flags: &str, list: &[u8]) -> Answer {
    client.send("PUT", &format!("/v1/pools/{pool}?{}", query(flags)), kind, list).unwrap()
}

#[test]
fn every_list_of_the_table_becomes_what_was_meant() {
    let server = Server::start();
    let mut client = server.client();
    let mut failures = Vec::new();
    for (index, row) in rows("more.tsv").iter().enumerate() {
        let [kind, flags, list, expected] = &row[..] else { panic!("{row:?}") };
        let pool = format!("p{index}");
        let answer = put(&mut client, &pool, &format!("text/{kind}"), flags, &unescaped(list));
        let found = if answer.status == 201 {
            let export = client.get_as(&format!("/v1/pools/{pool}/numbers"), "text/plain").unwrap();
            ranges(&export.body)
        } else {
            format!("refused: {}", answer.json()["detail"].as_str().unwrap_or_default())
        };
        let is_met = match expected.strip_prefix("refused:") {
            Some(told) => found.starts_with("refused:") && told.split('&').all(|told| found.contains(told.trim())),
            None => answer.status == 201 && found == merged(expected),
        };
        if !is_met {
            failures.push(format!("{list} [{flags}]\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
