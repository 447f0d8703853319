//! What is wrong with a pool, and what to do.

use serde_json::Value;

use crate::cli::figures::duration;
use crate::daemon::preflight::finding::Finding;
use crate::http::response::stats::PoolStats;

/// A pool is exhausted soon in less than this many seconds.
const SOON_SECONDS: u64 = 3_600;

/// What is wrong with a pool, if anything. `listed` is the answer of `GET /v1/pools`, which says why it is paused.
pub(super) fn examine(name: &str, pool: &PoolStats, listed: &Value) -> Option<Finding> {
    if pool.paused {
        return Some(Finding::warning("pool", paused(name, listed)));
    }
    if pool.is_closed() {
        return Some(Finding::warning(
            "pool",
            format!("{name} is outside its hours: allotd pool hours {name}"),
        ));
    }
    if pool.available == 0 {
        return Some(Finding::fault("pool", exhausted(name, pool)));
    }
    let left = pool.exhaustion_seconds.filter(|left| *left < SOON_SECONDS)?;
    Some(Finding::warning("pool", format!("{name} will be exhausted in about {}", duration(left))))
}

/// Why it is paused. To resume it is right only once that is over.
fn paused(name: &str, listed: &Value) -> String {
    let mut pools = listed["pools"].as_array().into_iter().flatten();
    let shown = pools.find(|pool| pool["pool"] == name).unwrap_or(&Value::Null);
    match (shown["pause_reason"].as_str(), shown["paused_until"].as_str()) {
        (Some(reason), _) => {
            format!("{name} is paused ({reason}): allotd pool resume {name}, once that is over")
        }
        (None, Some(until)) => format!(
            "{name} is paused until {until}, when leases that its backup does not know have ended: it resumes by itself"
        ),
        (None, None) => format!(
            "{name} is paused, and nobody said why: see who did it with \"allotd audit\" before \"allotd pool resume {name}\""
        ),
    }
}

/// Where the numbers are, and what brings them back.
fn exhausted(name: &str, pool: &PoolStats) -> String {
    let PoolStats { leased, resting, done, retired, blocked, closed, .. } = pool;
    let counts = format!(
        "{leased} leased, {resting} resting, {done} done, {retired} retired, {blocked} blocked, {closed} closed"
    );
    let next = match &pool.next_available_at {
        Some(next) => format!("the next: {next}"),
        None => format!("none comes back by itself: {}", remedies(name, pool).join("; ")),
    };
    format!("{name} has no number to lease ({counts}); {next}")
}

/// What an operator can do, by where the numbers are.
fn remedies(name: &str, pool: &PoolStats) -> Vec<String> {
    let by_count = [
        (pool.done, format!("\"allotd pool round {name}\" starts the next round of those that are done")),
        (pool.blocked, format!("\"allotd pool show {name}\" names the lists that block (blocked_by)")),
        (pool.retired, format!("\"allotd pool reinstate {name} FILE\" takes retired ones back")),
        (pool.closed, format!("\"allotd pool hours {name}\" says when closed ones open")),
    ];
    let there = by_count.into_iter().filter(|(count, _)| *count > 0).map(|(_, remedy)| remedy);
    there.chain([format!("\"allotd pool add {name} FILE\" adds more")]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::stats::answer;

    fn exhausted_pool() -> PoolStats {
        let stats = answer::parse(include_str!("../../../tests/fixtures/stats.json")).unwrap();
        let mut pool = stats.pools.into_values().find(|pool| pool.available == 0).unwrap();
        (pool.leased, pool.resting, pool.done, pool.retired, pool.blocked, pool.closed) = (0, 0, 0, 0, 0, 0);
        (pool.next_available_at, pool.open, pool.paused) = (None, None, false);
        pool
    }

    #[test]
    fn an_exhausted_pool_is_told_with_what_brings_its_numbers_back() {
        let mut pool = exhausted_pool();
        let told = |pool: &PoolStats| examine("ru", pool, &Value::Null).unwrap().text;
        assert!(told(&pool).ends_with("by itself: \"allotd pool add ru FILE\" adds more"), "{}", told(&pool));
        (pool.done, pool.blocked, pool.retired, pool.closed) = (1, 2, 3, 4);
        for words in [
            "1 done, 3 retired, 2 blocked, 4 closed",
            "pool round ru",
            "blocked_by",
            "reinstate ru",
            "hours ru",
        ] {
            assert!(told(&pool).contains(words), "{words}: {}", told(&pool));
        }
        pool.next_available_at = Some("2026-11-30T01:42:03Z".to_owned());
        assert!(told(&pool).ends_with("closed); the next: 2026-11-30T01:42:03Z"), "{}", told(&pool));
    }

    #[test]
    fn a_paused_pool_is_told_with_its_reason() {
        let mut pool = exhausted_pool();
        pool.paused = true;
        let told =
            |listed: Value| examine("ru", &pool, &json!({"pools": [{"pool": "de"}, listed]})).unwrap().text;
        let reason = told(json!({"pool": "ru", "pause_reason": "carrier is down"}));
        assert_eq!(reason, "ru is paused (carrier is down): allotd pool resume ru, once that is over");
        assert!(told(json!({"pool": "ru", "paused_until": "2026-11-30T01:42:03Z"})).contains("by itself"));
        assert!(told(json!({"pool": "ru"})).contains("allotd audit"));
    }
}
