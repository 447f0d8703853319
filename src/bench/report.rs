//! The figures of a run, for people and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::load::Measured;
use super::plan::{Mix, Plan};
use super::tally::Kind;

/// Operations are also counted per interval of this length.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// If a closed loop keeps its threads busier than this, it may itself limit the figures.
const BUSY_SHARE: f64 = 0.95;
/// The percentiles that are shown: name and value; the last is the longest.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999), ("max", 1.0)];

/// What was done to the pool besides the load, and how much of it was taken.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Occupancy {
    /// Numbers leased for `--fill`.
    pub(super) occupied: u64,
    /// Numbers leased for the mix, before the load.
    pub(super) leased: u64,
    /// Percent taken before the load.
    pub(super) before: f64,
    /// Percent taken after it.
    pub(super) after: f64,
}

/// The figures of a run with its settings.
#[derive(Debug)]
pub struct Report {
    plan: Plan,
    measured: Measured,
    occupancy: Occupancy,
}

impl Report {
    pub(super) fn new(plan: &Plan, mut measured: Measured, occupancy: Occupancy) -> Self {
        measured.tally.kinds.sort_by(|a, b| (a.call, a.status, &a.code).cmp(&(b.call, b.status, &b.code)));
        Self { plan: plan.clone(), measured, occupancy }
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.measured.time.as_secs_f64()
    }

    /// Microseconds per operation, of a processor time within the measured time.
    fn per_operation_us(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.measured.tally.answers().max(1) as f64
    }

    fn cores(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() / self.measured.time.as_secs_f64()
    }

    fn cpu_json(&self, cpu: Option<Duration>) -> Value {
        cpu.map_or(Value::Null, |cpu| {
            json!({
                "us_per_operation": rounded(self.per_operation_us(cpu), 1e3),
                "cores": rounded(self.cores(cpu), 1e3),
            })
        })
    }

    /// All figures and settings.
    pub fn json(&self) -> Value {
        let tally = &self.measured.tally;
        let latency: Map<String, Value> = PERCENTILES
            .iter()
            .map(|(name, quantile)| {
                let nanoseconds = tally.quantile_nanoseconds(*quantile);
                ((*name).to_owned(), rounded(nanoseconds as f64 / 1e3, 1e1).into())
            })
            .chain([("requests".to_owned(), tally.latencies().into())])
            .collect();
        let answers = |kind: &Kind| {
            json!({
                "call": kind.call,
                "status": kind.status,
                "code": if kind.code.is_empty() { Value::Null } else { kind.code.as_str().into() },
                "operations": kind.answers,
                "numbers": kind.numbers,
                "operations_of_run": kind.answers_of_run,
                "numbers_of_run": kind.numbers_of_run,
            })
        };
        json!({
            "settings": self.settings_json(),
            "seconds": rounded(self.measured.time.as_secs_f64(), 1e6),
            "operations": tally.answers(),
            "operations_per_second": rounded(self.per_second(tally.answers()), 1e1),
            "numbers": tally.numbers(),
            "numbers_per_second": rounded(self.per_second(tally.numbers()), 1e1),
            "operations_by_second": tally.by_interval,
            "latency_us": latency,
            "answers": tally.kinds.iter().map(answers).collect::<Vec<_>>(),
            "unsent": tally.unsent,
            "unanswered": tally.unanswered,
            "server_cpu": self.cpu_json(self.measured.server_cpu),
            "own_cpu": self.cpu_json(Some(self.measured.own_cpu)),
            "leased_before": { "for_taken": self.occupancy.occupied, "for_mix": self.occupancy.leased },
            "taken_percent": { "before": self.occupancy.before, "after": self.occupancy.after },
        })
    }

    fn settings_json(&self) -> Value {
        let plan = &self.plan;
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "server": plan.server.to_string(),
            "server_pid": plan.server_pid,
            "pool": plan.pool.as_str(),
            "mix": plan.mix.as_str(),
            "count": plan.count,
            "ttl": plan.ttl_seconds,
            "order": plan.order,
            "taken": plan.fill_percent,
            "connections": plan.connections,
            "pipeline": plan.depth,
            "threads": plan.threads,
            "rate": plan.rate_per_second,
            "warm_up_seconds": plan.warm_up.as_secs_f64(),
            "seconds": plan.time.as_secs_f64(),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let (plan, tally) = (&self.plan, &self.measured.tally);
        let pace = plan
            .rate_per_second
            .map_or("closed loop".to_owned(), |rate| format!("{rate} requests/s are due"));
        let what = if plan.mix == Mix::Lookup { String::new() } else { format!(" of {}", plan.count) };
        let mut text = format!(
            "{}{what} on {} of {}: {} connections, pipelined by {}, {pace}, {:.1} s\n",
            plan.mix.as_str(),
            plan.pool,
            plan.server,
            plan.connections,
            plan.depth,
            self.measured.time.as_secs_f64(),
        );
        let mut line = |name: &str, value: String| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:<16}{value}");
        };
        if let Some(refused) = self.refused() {
            line("REFUSED", refused);
        }
        line("operations/s", format!("{:.0}", self.per_second(tally.answers())));
        line("numbers/s", format!("{:.0}", self.per_second(tally.numbers())));
        let percentiles = PERCENTILES.map(|(name, quantile)| {
            let microseconds = tally.quantile_nanoseconds(quantile) as f64 / 1e3;
            format!("{} {microseconds:.0}", name.replace('_', "."))
        });
        line("latency, us", percentiles.join("  "));
        if let Some(cpu) = self.measured.server_cpu {
            line("server CPU", self.cpu_text(cpu));
        }
        line("own CPU", self.cpu_text(self.measured.own_cpu));
        line("taken", format!("{:.4} % before, {:.4} % after", self.occupancy.before, self.occupancy.after));
        self.put_kinds(&mut text);
        self.put_notes(&mut text);
        text
    }

    /// How many of the operations got no numbers, said before the figures, which count them too; `None` if none.
    fn refused(&self) -> Option<String> {
        let tally = &self.measured.tally;
        let is_refused = |kind: &&Kind| !(200..300).contains(&kind.status);
        let refused: u64 = tally.kinds.iter().filter(is_refused).map(|kind| kind.answers).sum();
        let all = tally.answers();
        let percent = 100.0 * refused as f64 / all.max(1) as f64;
        (refused > 0).then(|| {
            format!(
                "{refused} of {all} operations ({percent:.1} %): see below why; the figures count them too"
            )
        })
    }

    fn cpu_text(&self, cpu: Duration) -> String {
        format!("{:.2} us per operation, {:.2} of a core", self.per_operation_us(cpu), self.cores(cpu))
    }

    fn put_kinds(&self, text: &mut String) {
        let _ =
            writeln!(text, "\n{:<8}{:<8}{:<16}{:>12}{:>14}", "call", "status", "code", "answers", "numbers");
        for Kind { call, status, code, answers, numbers, .. } in &self.measured.tally.kinds {
            let code = if code.is_empty() { "-" } else { code };
            let _ = writeln!(text, "{call:<8}{status:<8}{code:<16}{answers:>12}{numbers:>14}");
        }
    }

    /// Notes without which the figures mislead.
    fn put_notes(&self, text: &mut String) {
        let tally = &self.measured.tally;
        if tally.unsent > 0 {
            let _ = writeln!(
                text,
                "\n{} requests were due and could not be sent: all connections were busy. They count in the latency \
                 with the time they waited.",
                tally.unsent
            );
        }
        if tally.unanswered > 0 {
            let _ = writeln!(
                text,
                "\n{} requests were not answered. They count in the latency with the time they waited.",
                tally.unanswered
            );
        }
        let closed = self.plan.rate_per_second.is_none();
        let share = self.cores(self.measured.own_cpu) / self.plan.threads as f64;
        if closed && share > BUSY_SHARE {
            let _ = writeln!(
                text,
                "\nThe load generator was busy all the time: it may be the limit. Give it more --threads, or a core \
                 that the server does not use."
            );
        }
    }
}

/// Rounded to one part in `parts`, so that JSON shows no more digits than are meaningful.
fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
