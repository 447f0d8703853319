//! The daemon's refusals in words for the command line: its own name the calls of the API.

use serde_json::Value;

use crate::client::ClientError;

/// What only the words for callers of the API have.
const CALLS: [&str; 7] =
    ["GET /v1/", "PUT /v1/", "POST /v1/", "PATCH /v1/", "PATCH the pool", "PUT a CSV", "Authorization:"];

/// A refusal that names commands instead of calls.
pub(super) fn in_commands(error: ClientError) -> ClientError {
    let ClientError::Refused { reason, line, problem } = error else { return error };
    let reason = advised(&problem).unwrap_or(reason);
    ClientError::Refused { reason, line, problem }
}

/// The reason with a command to give, if the daemon's own has a call in its place.
fn advised(problem: &Value) -> Option<String> {
    let (code, detail) = (problem["code"].as_str()?, problem["detail"].as_str()?);
    CALLS.iter().any(|call| detail.contains(call)).then_some(())?;
    let (what, more) = detail.split_once(": ")?;
    // "The pool ru has no note", "there is no list optouts".
    let pool = what.split(' ').nth(2).unwrap_or_default();
    let advice = match code {
        "unauthorized" => "give its file with --token-file FILE, or in ALLOTD_TOKEN_FILE".to_owned(),
        "pool_not_found" => {
            "\"allotd pool list\" names those there are, \"allotd pool create NAME FILE\" makes one"
                .to_owned()
        }
        "pool_exists" => {
            format!(
                "add to it with \"allotd pool add {pool} FILE\", or delete it with \"allotd pool delete {pool}\""
            )
        }
        "list_not_found" => {
            let list = what.split(' ').next_back().unwrap_or_default();
            format!("\"allotd list create {list}\" makes it, \"allotd list show\" names all")
        }
        "note_not_found" => format!("set one with \"allotd pool set {pool} --note FILE\""),
        "not_found" if what.ends_with("has no hours") => {
            let (meaning, _) = more.split_once(". ")?;
            format!("{meaning}. Set some with \"allotd pool set {pool} --hours FILE\"")
        }
        "not_found" if what.ends_with("has no time zones") => {
            format!("set them with \"allotd pool zones {pool} --set FILE\", or --builtin phone")
        }
        "not_found" => "\"allotd cluster status\" lists the members".to_owned(),
        "not_primary" => {
            return Some(format!(
                "{what}: try again, or see \"allotd cluster status\" of each member ({code})"
            ));
        }
        _ => return None,
    };
    Some(format!("{what}: {advice} ({code})"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_become_commands_and_all_else_stays() {
        for (code, detail, told) in [
            (
                "pool_exists",
                "The pool ru already exists: add to it with POST /v1/pools/ru/numbers, or delete it",
                "The pool ru already exists: add to it with \"allotd pool add ru FILE\", or delete it with \"allotd \
                 pool delete ru\" (pool_exists)",
            ),
            (
                "list_not_found",
                "there is no list x: PUT /v1/lists/x creates it, GET /v1/lists names all",
                "there is no list x: \"allotd list create x\" makes it, \"allotd list show\" names all (list_not_found)",
            ),
            (
                "not_found",
                "The pool ru has no hours: all its numbers are always open. PATCH the pool with \"hours\" to set some",
                "The pool ru has no hours: all its numbers are always open. Set some with \"allotd pool set ru --hours \
                 FILE\" (not_found)",
            ),
        ] {
            assert_eq!(advised(&json!({"code": code, "detail": detail})).as_deref(), Some(told));
        }
        for (code, detail) in [
            ("unauthorized", "The token is not valid: it ended at 2026-11-23T22:05:00Z"),
            ("bad_request", "ttl is 0: see GET /v1/pools"),
            ("not_found", "GET /v1/nothing"),
        ] {
            assert_eq!(advised(&json!({"code": code, "detail": detail})), None, "{detail}");
        }
    }
}
