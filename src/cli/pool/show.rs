//! Pools as `allotd pool list`, `show` and `set` show them.

use serde_json::Value;

use crate::cli::figures::{grouped, percent};
use crate::cli::output::{Shown, cell, figures, pairs, table, words};

/// The counts of a pool, in the order they are shown.
const COUNTS: [&str; 8] =
    ["numbers", "available", "leased", "resting", "done", "retired", "blocked", "closed"];

fn count(pool: &Value, name: &str) -> u64 {
    pool[name].as_u64().unwrap_or(0)
}

/// All pools, one row each.
pub(super) fn list(answer: &Value) -> String {
    let row = |pool: &Value| {
        let mut cells = vec![cell(&pool["pool"])];
        cells.extend(COUNTS.map(|name| grouped(count(pool, name))));
        cells.insert(3, percent(count(pool, "available"), count(pool, "numbers")));
        cells.extend([cell(&pool["round"]), cell(&pool["paused"])]);
        cells
    };
    let rows: Vec<_> = answer["pools"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return "there is no pool yet: allotd pool create NAME FILE\n".to_owned();
    }
    let mut columns = vec![words("pool")];
    columns.extend(COUNTS.map(figures));
    columns.insert(3, figures(""));
    columns.extend([figures("round"), words("paused")]);
    table(&columns, &rows)
}

/// One pool with its settings.
pub(super) fn pool(pool: &Value) -> String {
    let mut shown = vec![("pool".to_owned(), Shown::Words(cell(&pool["pool"])))];
    let numbers = count(pool, "numbers");
    for name in COUNTS {
        let share = if name == "numbers" { String::new() } else { percent(count(pool, name), numbers) };
        shown.push((name.to_owned(), Shown::Figure(grouped(count(pool, name)), format!("{share:>7}"))));
    }
    shown.push(("round".to_owned(), Shown::member(&pool["round"])));
    shown.push(("paused".to_owned(), Shown::Words(cell(&pool["paused"]))));
    let of_pause = [("paused until", &pool["paused_until"]), ("pause reason", &pool["pause_reason"])];
    let of_pause = of_pause.into_iter().filter(|(_, value)| !value.is_null());
    shown.extend(of_pause.map(|(name, value)| (name.to_owned(), Shown::Words(cell(value)))));
    for (name, value) in pool["settings"].as_object().into_iter().flatten() {
        match value {
            Value::Object(hours) if name == "hours" => shown.extend(hours_of(hours)),
            Value::Object(attempts) if name == "attempts" => shown.push((
                name.clone(),
                Shown::Words(format!("{}, then {}", cell(&attempts["max"]), cell(&attempts["then"]))),
            )),
            Value::Object(rules) if !rules.is_empty() => shown.extend(
                rules.iter().map(|(outcome, then)| (format!("outcome {outcome}"), Shown::Words(cell(then)))),
            ),
            Value::Number(number) => {
                let figure = number.as_u64().map_or_else(|| number.to_string(), grouped);
                let unit = if name == "max_waiters" { "calls" } else { "s" };
                shown.push((name.clone(), Shown::Figure(figure, unit.to_owned())));
            }
            value => shown.push((name.clone(), Shown::Words(cell(value)))),
        }
    }
    pairs(&shown)
}

/// Hours, a row per rule.
fn hours_of(hours: &serde_json::Map<String, Value>) -> Vec<(String, Shown)> {
    let words = |text: String| ("hours".to_owned(), Shown::Words(text));
    let rules = hours.get("rules").and_then(Value::as_array).into_iter().flatten();
    let rules = rules
        .map(|rule| words(format!("{} {}-{}", cell(&rule["days"]), cell(&rule["from"]), cell(&rule["to"]))));
    let closed = hours
        .get("closed")
        .and_then(Value::as_array)
        .map(|days| words(format!("closed {}", days.iter().map(cell).collect::<Vec<_>>().join(" "))));
    let zone = hours.get("zone").map(|zone| words(format!("zone {}", cell(zone))));
    rules.chain(closed).chain(zone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_shown_with_its_rules() {
        let answer = serde_json::json!({
            "pool": "ru", "numbers": 1000, "available": 999, "leased": 1, "resting": 0, "done": 0, "retired": 0,
            "round": 1, "paused": false,
            "settings": {"order": "random", "ttl": 300, "outcomes": {"answered": "done"},
                "attempts": {"max": 3, "then": "done"}},
        });
        let text = pool(&answer);
        for line in [
            "numbers           1,000",
            "available           999   99.9 %",
            "done                  0      0 %",
            "paused            no",
            "ttl                 300  s",
            "outcome answered  done",
            "attempts          3, then done",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
        }
        let mut paused = answer.clone();
        paused["paused"] = true.into();
        paused["pause_reason"] = "carrier is down".into();
        assert!(super::pool(&paused).contains("paused            yes\npause reason      carrier is down\n"));
        assert!(list(&serde_json::json!({"pools": []})).contains("pool create"));
        let text = list(&serde_json::json!({"pools": [answer]}));
        assert!(
            text.ends_with(
                "\nru      1,000        999  99.9 %       1        0     0        0        0       0      1  no\n"
            ),
            "{text}"
        );
    }
}
