//! The settings of a pool in a file of `allotd apply`, and what differs from those that the pool has.

use serde_json::{Map, Value, json};

use crate::cli::error::CliError;
use crate::cli::output::cell;
use crate::domain::list_name::ListName;
use crate::domain::settings::{NextState, Settings, SettingsChange};

use super::file::{Parameters, json_of};

/// Settings that are nothing by default, and the word for that, as TOML has no `null`.
const MAY_BE_NONE: [&str; 4] = ["attempts", "hours", "max_per_holder", "first_per_holder"];
const NONE: &str = "none";

/// The body of a change to these settings; refused if they are not settings.
pub(super) fn wanted(pool: &str, table: &toml::Table) -> Result<Map<String, Value>, CliError> {
    let mut wanted = Map::new();
    for (name, value) in table {
        let given = json_of(value);
        let value = match (name.as_str(), given) {
            (name, Value::String(text)) if text == NONE && MAY_BE_NONE.contains(&name) => Value::Null,
            ("on_expiry", value) => then(value),
            ("outcomes", Value::Object(rules)) => {
                rules.into_iter().map(|(outcome, value)| (outcome, then(value))).collect()
            }
            ("attempts", Value::Object(mut attempts)) => {
                if let Some(value) = attempts.remove("then") {
                    attempts.insert("then".to_owned(), then(value));
                }
                Value::Object(attempts)
            }
            (_, value) => value,
        };
        wanted.insert(name.clone(), value);
    }
    read(pool, &wanted).map(|_| wanted)
}

fn read(pool: &str, wanted: &Map<String, Value>) -> Result<SettingsChange, CliError> {
    serde_json::from_value(Value::Object(wanted.clone()))
        .map_err(|error| CliError::Failed(format!("the settings of pool {pool} are not understood: {error}")))
}

/// What the settings of a pool will be, with those that it has if it is there. They are refused as the daemon refuses
/// them, before anything is changed; `None` if it has some that this version does not know.
pub(super) fn resulting(
    pool: &str,
    wanted: &Map<String, Value>,
    there: Option<&Value>,
) -> Result<Option<Settings>, CliError> {
    let change = read(pool, wanted)?;
    let result = match there.map(|there| serde_json::from_value::<Settings>(there["settings"].clone())) {
        None => Settings::of_new_pool(&change),
        Some(Ok(settings)) => settings.changed(&change),
        Some(Err(_)) => return Ok(None),
    };
    result.map(Some).map_err(|error| CliError::Failed(format!("the settings of pool {pool}: {error}")))
}

/// What becomes of a number: as commands write it (`rest:60`), or as JSON has it.
fn then(value: Value) -> Value {
    let parsed = value.as_str().and_then(|text| text.parse::<NextState>().ok());
    parsed.map_or(value, |then| json!(then))
}

/// The parameters of a new pool for these settings, and those of them that can only be changed once it is there.
pub(super) fn at_creation(
    pool: &str,
    mut wanted: Map<String, Value>,
) -> Result<(Parameters, Map<String, Value>), CliError> {
    let given = read(pool, &wanted)?;
    let number = |value: Option<u32>| value.map(|value| value.to_string());
    let lists = |lists: Vec<ListName>| lists.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let parameters = [
        ("order", given.order.map(|order| cell(&json!(order)))),
        ("ttl", number(given.ttl)),
        ("ttl_max", number(given.ttl_max)),
        ("rest", number(given.rest)),
        ("on_expiry", given.on_expiry.map(|then| then.to_string())),
        ("attempts", given.attempts.flatten().map(|attempts| attempts.to_string())),
        ("blocked_by", given.blocked_by.filter(|lists| !lists.is_empty()).map(lists)),
        ("max_waiters", number(given.max_waiters)),
        ("holders", given.holders.map(|holders| holders.to_string())),
        ("max_per_holder", number(given.max_per_holder.flatten())),
        ("first_per_holder", number(given.first_per_holder.flatten())),
    ];
    for (name, _) in &parameters {
        wanted.remove(*name);
    }
    Ok((parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(), wanted))
}

/// Those of the wanted settings that are not as they should be: name, what it is, and what it should be.
pub(super) fn differences(wanted: &Map<String, Value>, pool: &Value) -> Vec<(String, Value, Value)> {
    let defaults = json!(Settings::default());
    let differing = wanted.iter().filter_map(|(name, value)| {
        let is = pool["settings"].get(name).or_else(|| defaults.get(name)).cloned().unwrap_or(absent(name));
        (is != *value).then(|| (name.clone(), is, value.clone()))
    });
    differing.collect()
}

/// What a setting is that the daemon does not show, because it is as by default.
fn absent(name: &str) -> Value {
    match name {
        "blocked_by" => json!([]),
        "holders" => json!(false),
        "max_waiters" => json!(Settings::default().max_waiters),
        "note" => json!(""),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_wanted_does_not_differ() {
        let table = "ttl = 60\nattempts = \"none\"\non_expiry = \"rest:5\"\noutcomes = { a = \"done\", b = { rest = 9 } }\nholders = false";
        let wanted = wanted("ru", &toml::from_str(table).unwrap()).unwrap();
        let same = json!({"settings": {"ttl": 60, "on_expiry": {"rest": 5}, "outcomes": {"a": "done", "b": {"rest": 9}}}});
        assert_eq!(differences(&wanted, &same), []);
        let other =
            json!({"settings": {"ttl": 61, "on_expiry": "available", "outcomes": {}, "holders": true}});
        let names: Vec<_> = differences(&wanted, &other).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["holders", "on_expiry", "outcomes", "ttl"]);
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for bad in ["ttl_seconds = 60", "ttl = \"none\"", "on_expiry = \"rest\""] {
            assert!(wanted("ru", &toml::from_str(bad).unwrap()).is_err(), "{bad}");
        }
        let there = json!({"settings": Settings::default()});
        for (given, ok) in [("ttl = 0", false), ("ttl_max = 60", false), ("ttl = 60", true)] {
            let wanted = wanted("ru", &toml::from_str(given).unwrap()).unwrap();
            for there in [None, Some(&there)] {
                assert_eq!(resulting("ru", &wanted, there).is_ok(), ok, "{given}");
            }
        }
    }
}
