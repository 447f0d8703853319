//! Numbers of all regions, in every form, against what the reference implementation reads in them:
//! `phonenumbers`, the Python port of libphonenumber. `tests/plans.sh` does the same for 50,000 random numbers.

#![allow(clippy::unwrap_used)] // a test that cannot go on

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use allotd::numbers::list::{LineReader, ListOptions, parse_line};

/// The file of numbers for the long comparison.
const NUMBERS_VARIABLE: &str = "ALLOTD_PLAN_NUMBERS";
/// Share of the texts that the reference reads and allotd may refuse.
const MAX_REFUSED_SHARE: f64 = 0.001;

/// A text, and the number that the reference reads in it.
struct Case {
    region: String,
    form: usize,
    text: String,
    expected: Option<u64>,
}

const FORMS: [&str; 5] = [
    "national",
    "international",
    "+ and digits",
    "digits of the national form",
    "digits of the international form",
];

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// The texts of a file by `tests/plans/numbers.py`.
fn cases(file: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(file).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    let of_row = |row: &str| {
        let columns: Vec<&str> = row.split('\t').collect();
        let [region, national, international, others @ ..] = &columns[..] else { panic!("{row}") };
        let own = digits(international);
        let read = |index: usize| match others.get(index).copied().unwrap_or_default() {
            "" => Some(own.parse().unwrap()),
            "-" => None,
            other => Some(other.parse().unwrap()),
        };
        let texts = [
            (*national).to_owned(),
            (*international).to_owned(),
            format!("+{own}"),
            digits(national),
            own.clone(),
        ];
        let expected = [read(2), read(2), read(2), read(0), read(1)];
        let all = texts.into_iter().zip(expected).enumerate();
        all.map(|(form, (text, expected))| Case { region: (*region).to_owned(), form, text, expected })
            .collect::<Vec<_>>()
    };
    rows.flat_map(of_row).collect()
}

#[derive(Default, Clone, Copy)]
struct Tally {
    same: u32,
    /// A number where the reference reads another one or none.
    wrong: u32,
    refused: u32,
}

/// Reads every text twice: by itself, and after those of its region before it.
fn compare(cases: &[Case]) -> [Tally; FORMS.len()] {
    let mut tallies = [Tally::default(); FORMS.len()];
    let mut faults = String::new();
    for of_region in cases.chunk_by(|one, other| one.region == other.region) {
        let options =
            ListOptions { region: Some(of_region[0].region.parse().unwrap()), ..ListOptions::default() };
        let mut reader = LineReader::new(&options);
        for case in of_region {
            let read = reader.line(case.text.as_bytes());
            assert_eq!(read, parse_line(case.text.as_bytes(), &options), "{} {}", case.region, case.text);
            let number = read.ok().flatten().map(|range| {
                assert_eq!(range.len(), 1, "{} {} is a range", case.region, case.text);
                range.first().get()
            });
            let tally = &mut tallies[case.form];
            match (number, case.expected) {
                (number, expected) if number == expected => tally.same += 1,
                (None, Some(_)) => tally.refused += 1,
                (Some(_), _) | (None, None) => tally.wrong += 1,
            }
            if number != case.expected {
                writeln!(faults, "{} {}: {number:?}, not {:?}", case.region, case.text, case.expected)
                    .unwrap();
            }
        }
    }
    for (form, tally) in FORMS.iter().zip(tallies) {
        println!("{form}: {} same, {} refused, {} wrong", tally.same, tally.refused, tally.wrong);
    }
    println!("{faults}");
    tallies
}

fn assert_right(cases: &[Case]) {
    for (form, tally) in FORMS.iter().zip(compare(cases)) {
        let all = f64::from(tally.same + tally.refused + tally.wrong);
        assert_eq!(tally.wrong, 0, "{form}: read wrongly");
        assert!(
            f64::from(tally.refused) <= all * MAX_REFUSED_SHARE,
            "{form}: {} refused of {all}",
            tally.refused
        );
    }
}

#[test]
fn example_numbers_of_all_regions_are_read_as_the_reference_reads_them() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/example-numbers.tsv");
    let cases = cases(&file);
    assert!(cases.len() > 5_000, "{}", cases.len());
    assert_right(&cases);
}

#[test]
#[ignore = "needs the numbers that tests/plans.sh makes"]
fn random_numbers_of_all_regions_are_read_as_the_reference_reads_them() {
    let file = std::env::var_os(NUMBERS_VARIABLE).expect("a file of numbers");
    let cases = cases(Path::new(&file));
    let started = Instant::now();
    assert_right(&cases);
    println!("{} texts, each read twice, in {:?}", cases.len(), started.elapsed());
}

#[test]
fn what_is_remembered_of_a_block_holds_for_all_of_it() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/example-numbers.tsv");
    let mut compared = 0;
    for case in cases(&file).iter().filter(|case| case.form > 1) {
        let options = ListOptions { region: Some(case.region.parse().unwrap()), ..ListOptions::default() };
        let mut reader = LineReader::new(&options);
        let _ = reader.line(case.text.as_bytes());
        // Each of the last four digits is changed.
        for place in case.text.len().saturating_sub(4)..case.text.len() {
            for digit in "0159".chars() {
                let mut text = case.text.clone();
                text.replace_range(place..=place, &digit.to_string());
                let read = reader.line(text.as_bytes());
                assert_eq!(read, parse_line(text.as_bytes(), &options), "{} {text}", case.region);
                compared += 1;
            }
        }
    }
    assert!(compared > 40_000, "{compared}");
}
