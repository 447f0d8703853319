//! Lists as people have them: what each becomes, or why it is refused.
//!
//! `fixtures/lists/cases.tsv` has files, each with the flags of the command; `fixtures/lists/more.tsv` has
//! lists in the table itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::daemon::{Daemon, one_line_failure};
use crate::support::{Answer, Client, Server};

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
    let shown =
        |(first, last): (u64, u64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
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
        for expected in ["invalid", "2", "line:2", "7912123456O", "\"O\" (U+004F)", "line:3", "79121234563 x"]
        {
            assert!(told.contains(expected), "{action}: {expected} in {told}");
        }
        one_line_failure(
            &daemon.run(&["pool", action, "ru", file]),
            1,
            if action == "create" { "pool_exists" } else { "line 2" },
        );
    }
    let told = daemon.ok(&["pool", "retire", "ru", file, "--on-invalid", "skip", "--dry-run", "--json"]);
    assert!(
        told.starts_with("{\"retired\":1,") && told.contains("\"invalid\":2,\"first_invalid\":["),
        "{told}"
    );
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
    // An addition too: what must not be called is not, in a pool that has a part of the numbers.
    let other = directory.path().join("other.txt");
    fs::write(&other, "79121234562\n79121234563\n").unwrap();
    daemon.ok(&["pool", "create", "third", other.to_str().unwrap()]);
    daemon.ok(&["pool", "retire", "third", other.to_str().unwrap()]);
    let added = daemon.ok(&["pool", "add", "third", export.to_str().unwrap(), "--json"]);
    assert!(added.starts_with("{\"added\":1,\"existing\":1,"), "{added}");
    assert_eq!(
        daemon.ok(&["pool", "export", "third", "--state", "retired"]),
        "79121234561\n79121234562\n79121234563\n"
    );
    one_line_failure(&daemon.run(&["lease", "third"]), 1, "(exhausted)");
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
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let pairs = words
        .chunks(2)
        .map(|pair| format!("{}={}", pair[0].trim_start_matches("--").replace('-', "_"), encoded(&pair[1])));
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
            Some(told) => {
                found.starts_with("refused:") && told.split('&').all(|told| found.contains(told.trim()))
            }
            None => answer.status == 201 && found == merged(expected),
        };
        if !is_met {
            failures.push(format!("{list} [{flags}]\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// The examples in docs/number-lists.md: list, options and what it becomes.
fn documented() -> Vec<[String; 3]> {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/number-lists.md")).unwrap();
    let section = page.split("\n## Examples\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
        std::array::from_fn(|_| cells.next().unwrap_or_else(|| panic!("{row}")))
    });
    cells.collect()
}

#[test]
fn the_examples_of_the_documents_are_true() {
    let server = Server::start();
    let mut client = server.client();
    let rows = documented();
    assert!(rows.len() > 25, "{}", rows.len());
    for (index, [list, options, becomes]) in rows.iter().enumerate() {
        let flags: Vec<_> = options.split_whitespace().map(|option| option.replacen('=', " ", 1)).collect();
        let pool = format!("p{index}");
        let answer = put(&mut client, &pool, "text/plain", &flags.join(" "), &unescaped(list));
        if let Some(told) = becomes.strip_prefix("refused:") {
            assert!(answer.status == 400 && answer.body.contains(told.trim()), "{list}: {}", answer.body);
        } else {
            assert_eq!(answer.status, 201, "{list}: {}", answer.body);
            let export = client.get_as(&format!("/v1/pools/{pool}/numbers"), "text/plain").unwrap();
            assert_eq!(ranges(&export.body), merged(becomes), "{list}");
        }
    }
}

#[test]
fn a_dry_run_shows_what_would_be_read_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("data"));
    let file = directory.path().join("list.txt");
    fs::write(&file, "8 912 123-45-67\n+44 (0)20 7946 0018\n79000000000-79001999999\n79121234567\nx\n")
        .unwrap();
    let file = file.to_str().unwrap();
    let flags = ["--region", "RU", "--on-invalid", "skip", "--dry-run"];
    let told = daemon.ok(&[&["pool", "create", "ru", file][..], &flags].concat());
    for expected in [
        "numbers        2,000,002",
        "duplicates             1",
        "invalid                1",
        "first          79000000000",
        "last           442079460018",
        "7:2000001",
        "44:1",
        "   1  8 912 123-45-67",
        "   3  79000000000-79001999999  79000000000-79001999999",
        "invalid: line 5 (x)",
        "odd: line 3 (79000000000-79001999999) alone stands for 2000000 numbers",
        "odd: international and national forms are mixed",
    ] {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    one_line_failure(&daemon.run(&["pool", "show", "ru"]), 1, "(pool_not_found)");
    daemon.ok(&[&["pool", "create", "ru", file][..], &flags[..4]].concat());
    let told = daemon.ok(&[&["pool", "add", "ru", file, "--json"][..], &flags].concat());
    assert!(
        told.starts_with("{\"added\":0,\"existing\":2000002,\"dry_run\":true,\"numbers\":2000002,"),
        "{told}"
    );
}

#[test]
fn a_refusal_names_the_file_and_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("data"));
    let files = [("one.txt", "1\n2\n"), ("two.txt", "3\nx\n")].map(|(name, content)| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let refused = daemon.run(&["pool", "create", "ru", &files[0], &files[1]]);
    one_line_failure(&refused, 1, &format!("{}, line 2:", files[1]));
    let refused = daemon.run(&["pool", "create", "ru", &files[1]]);
    one_line_failure(&refused, 1, &format!("{}: line 2 (x): it holds \"x\" (U+0078)", files[1]));
}

/// A workbook with one sheet of inline strings and numbers.
fn workbook(rows: &str) -> Vec<u8> {
    let parts = [
        ("[Content_Types].xml", "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"><Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/><Default Extension=\"xml\" ContentType=\"application/xml\"/><Override PartName=\"/xl/workbook.xml\" ContentType=\"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml\"/><Override PartName=\"/xl/worksheets/sheet1.xml\" ContentType=\"application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml\"/></Types>".to_owned()),
        ("_rels/.rels", "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"rId1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>".to_owned()),
        ("xl/workbook.xml", "<workbook xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\" xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\"><sheets><sheet name=\"Numbers\" sheetId=\"1\" r:id=\"rId1\"/></sheets></workbook>".to_owned()),
        ("xl/_rels/workbook.xml.rels", "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"rId1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>".to_owned()),
        ("xl/worksheets/sheet1.xml", format!("<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><sheetData>{rows}</sheetData></worksheet>")),
    ];
    let (mut archive, mut entries) = (Vec::new(), Vec::new());
    for (name, content) in &parts {
        let mut crc = flate2::Crc::new();
        crc.update(content.as_bytes());
        let size = (content.len() as u32).to_le_bytes();
        // Stored, not compressed.
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        common.extend(crc.sum().to_le_bytes().into_iter().chain(size).chain(size));
        common.extend((name.len() as u16).to_le_bytes().into_iter().chain([0, 0]));
        let offset = (archive.len() as u32).to_le_bytes();
        entries.extend(b"PK\x01\x02\x14\x00".iter().chain(&common).chain(&[0; 10]).chain(&offset));
        entries.extend(name.as_bytes());
        archive.extend(b"PK\x03\x04".iter().chain(&common).chain(name.as_bytes()).chain(content.as_bytes()));
    }
    let (at, count) = (archive.len() as u32, [parts.len() as u8, 0]);
    archive.extend(&entries);
    archive.extend(b"PK\x05\x06\0\0\0\0".iter().chain(&count).chain(&count));
    archive.extend((entries.len() as u32).to_le_bytes().into_iter().chain(at.to_le_bytes()).chain([0, 0]));
    archive
}

#[test]
fn a_workbook_is_read_by_the_commands() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("data"));
    let rows = "<row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>name</t></is></c><c r=\"B1\" t=\"inlineStr\"><is><t>number</t></is></c></row>\
        <row r=\"3\"><c r=\"A3\" t=\"inlineStr\"><is><t>a, \"b\"</t></is></c><c r=\"B3\"><v>79121234567</v></c></row>\
        <row r=\"4\"><c r=\"B4\" t=\"inlineStr\"><is><t>8 912 123-45-68</t></is></c></row>";
    let file = directory.path().join("numbers.dat");
    fs::write(&file, workbook(rows)).unwrap();
    let file = file.to_str().unwrap();
    daemon.ok(&["pool", "create", "ru", file, "--region", "RU"]);
    assert_eq!(daemon.ok(&["pool", "export", "ru"]), "79121234567\n79121234568\n");
    one_line_failure(&daemon.run(&["pool", "add", "ru", file]), 1, "row at line 4, column number");
    one_line_failure(&daemon.run(&["pool", "add", "ru", file, "--sheet", "Other"]), 1, "no such sheet");
    let sent = daemon.client().send("POST", "/v1/pools/ru/numbers", "text/csv", &workbook(rows)).unwrap();
    assert!(sent.status == 400 && sent.body.contains("export the sheet as CSV"), "{}", sent.body);
}
