//! What a dry run shows.

use std::fmt::Write as _;

use serde_json::Value;

use super::output::{self, Shown, cell, figures, words};

/// Members that are numbers of a pool, not figures.
const NUMBERS: [&str; 2] = ["first", "last"];
/// Members that are shown as a list of their own.
const LISTS: [&str; 3] = ["samples", "odd", "first_invalid"];

/// The answer of a dry run.
pub(super) fn text(answer: &Value) -> String {
    let Some(object) = answer.as_object() else { return output::members(answer) };
    let members = object.iter().filter(|(name, _)| !LISTS.contains(&name.as_str()));
    let shown = members.map(|(name, value)| {
        let is_number = NUMBERS.contains(&name.as_str());
        (name.clone(), if is_number { Shown::Words(cell(value)) } else { Shown::member(value) })
    });
    let mut text = output::pairs(&shown.collect::<Vec<_>>());
    let rows = |name: &str| answer[name].as_array().map_or(&[][..], Vec::as_slice);
    let samples: Vec<_> = rows("samples").iter().map(sample).collect();
    text.push('\n');
    text.push_str(&output::table(&[figures("LINE"), words("TEXT"), words("NUMBERS")], &samples));
    for invalid in rows("first_invalid") {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "invalid: line {} ({}): {}",
            cell(&invalid["line"]),
            cell(&invalid["text"]),
            cell(&invalid["reason"])
        );
    }
    for odd in rows("odd") {
        let _ = writeln!(text, "odd: {}", cell(odd));
    }
    text
}

fn sample(sample: &Value) -> Vec<String> {
    let (first, last) = (cell(&sample["first"]), cell(&sample["last"]));
    let numbers = if first == last { first } else { format!("{first}-{last}") };
    vec![cell(&sample["line"]), cell(&sample["text"]), numbers]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_a_table_and_oddities_follow() {
        let answer = serde_json::json!({
            "pool": "ru", "numbers": 1000, "first": 79_121_234_567_u64, "last": 79_121_235_566_u64,
            "samples": [{"line": 1, "text": "8 912…", "first": 1, "last": 1}, {"line": 22, "text": "5*", "first": 50, "last": 59}],
            "odd": ["many lengths"],
        });
        let text = text(&answer);
        assert!(text.contains("first") && text.contains("79121234567"), "{text}");
        assert!(text.contains("\nLINE  TEXT    NUMBERS\n   1  8 912…  1\n  22  5*      50-59\n"), "{text}");
        assert!(text.ends_with("odd: many lengths\n"), "{text}");
    }
}
