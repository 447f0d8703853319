//! `exhausted`: what the numbers are in the way of, and when to try again.

use std::sync::Arc;

use crate::domain::counts::Counts;
use crate::engine::operations::hours::Closed;
use crate::engine::pool::Pool;
use crate::engine::segment::within::Within;
use crate::http::blocking::blocking;
use crate::http::response::code::Code;
use crate::http::response::json;
use crate::http::response::problem::Problem;
use crate::state::time::Timestamp;

/// Most words that the worker itself reads for the counts of an `exhausted`; more are read on a thread that
/// may block.
const MAX_WORDS_COUNTED_AT_ONCE: u64 = 4_096;
/// `Retry-After` if no time is known at which a number becomes available, in seconds.
const EXHAUSTED_RETRY_AFTER_SECONDS: u64 = 60;

/// What a call could have chosen from.
pub(super) struct Counted {
    pub(super) counts: Counts,
    /// When the next number becomes available.
    pub(super) next: Option<Timestamp>,
    /// What the hours close; `None` without hours.
    pub(super) closed: Option<Closed>,
}

impl Counted {
    /// Whether the pool has hours.
    pub(super) fn has_hours(&self) -> bool {
        self.closed.is_some()
    }

    /// When closed numbers open.
    pub(super) fn opens_at(&self) -> Option<Timestamp> {
        self.closed.and_then(|closed| closed.opens_at)
    }

    /// The members that tell of the counts' times.
    pub(super) fn times(&self) -> String {
        let closed = self
            .closed
            .map_or(String::new(), |closed| format!(",\"next_open_at\":{}", time_json(closed.opens_at)));
        format!("\"next_available_at\":{}{closed}", time_json(self.next))
    }
}

/// Counts the numbers that a call could have chosen from, and finds when the next one can become available.
pub(super) async fn count(pool: &Arc<Pool>, within: Option<&Arc<Within>>) -> Result<Counted, Problem> {
    if within.is_some_and(|within| within.len() > MAX_WORDS_COUNTED_AT_ONCE) || pool.has_hours() {
        let (pool, within) = (Arc::clone(pool), within.map(Arc::clone));
        return blocking(move || Ok(look(&pool, within.as_deref()))).await;
    }
    Ok(look(pool, within.map(|within| &**within)))
}

fn look(pool: &Pool, within: Option<&Within>) -> Counted {
    let (mut counts, closed) = (pool.counts_within(within), pool.closed(within));
    if let Some(closed) = closed {
        counts.close(closed.numbers);
    }
    Counted { counts, next: pool.next_available_at(within), closed }
}

/// What an operator can do about numbers that nothing but an operator makes available.
pub(super) fn remedies(counts: &Counts) -> String {
    let of = |count: u64, what: &'static str| (count > 0).then_some(what);
    let some = [
        of(counts.done, "start the next round"),
        of(counts.blocked, "take numbers off the lists that block them"),
        of(counts.retired, "reinstate numbers"),
    ];
    let some: Vec<_> = some.into_iter().flatten().collect();
    if some.is_empty() { "add some".to_owned() } else { format!("{} or add some", some.join(", ")) }
}

/// When to try again: as text, and in seconds. `next` is when a number becomes available, `opens_at` when closed
/// ones open; if neither is known, the numbers of `counts` wait for an operator.
pub(super) fn when(
    next: Option<Timestamp>,
    opens_at: Option<Timestamp>,
    counts: &Counts,
    now: Timestamp,
) -> (String, u64) {
    let soonest = [next, opens_at].into_iter().flatten().min();
    let text = match soonest {
        Some(time) if Some(time) == next => {
            format!("try again at {time}, when the next number can become available")
        }
        Some(time) => format!("try again at {time}, when closed numbers open"),
        None => format!("none will become available without an operator: {}", remedies(counts)),
    };
    let retry_after = soonest.map_or(EXHAUSTED_RETRY_AFTER_SECONDS, |next| {
        next.unix_seconds().saturating_sub(now.unix_seconds()).max(1)
    });
    (text, retry_after)
}

/// A time as JSON.
pub(super) fn time_json(time: Option<Timestamp>) -> String {
    time.map_or("null".to_owned(), |time| format!("\"{time}\""))
}

pub(super) fn exhausted(counted: &Counted, now: Timestamp) -> Problem {
    let Counted { counts, closed, .. } = counted;
    let (when, retry_after) = when(counted.next, counted.opens_at(), counts, now);
    let detail = if counts.numbers == 0 {
        "The pool has no numbers within the given prefixes and ranges: give others, or add numbers".to_owned()
    } else {
        let rest = format!(
            "{} are done, {} are retired{} and {} are blocked by lists",
            counts.done,
            counts.retired,
            closed.map_or(String::new(), |_| format!(", {} are outside their hours", counts.closed)),
            counts.blocked
        );
        format!(
            "Of the {} numbers that the call can choose from, {} are leased, {} are resting, {rest}; {when}",
            counts.numbers, counts.leased, counts.resting
        )
    };
    let problem = Problem::new(Code::Exhausted, detail).with_members(format!(
        ",{},{}",
        json::counts(counts),
        counted.times()
    ));
    // Waiting does not help a call that nothing fits.
    if counts.numbers == 0 { problem } else { problem.retry_after(retry_after) }
}
