//! Figures of several rounds, as tables and as JSON.

use allotd::bench::load::Measured;
use serde_json::{Value, json};

use super::figures::{spread, spread_json};
use super::peer::{Case, Class};

/// One round's figures.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    pub(crate) per_second: f64,
    /// The server's processor time per operation.
    pub(crate) cpu_us: f64,
    /// p50, p99 and p99.9.
    latency_us: [f64; 3],
    refused: u64,
    answers: u64,
    /// Operations per second in each interval.
    pub(crate) intervals: Vec<f64>,
}

impl Round {
    pub(crate) fn of(measured: &Measured, interval_seconds: f64) -> Self {
        let tally = &measured.tally;
        let answers = tally.answers();
        let operations = answers.max(1) as f64;
        let cpu = measured.server_cpu.unwrap_or_default();
        let refused = tally.kinds.iter().filter(|kind| kind.status != super::peer::SUCCESS);
        Self {
            per_second: operations / measured.time.as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / operations,
            latency_us: [0.5, 0.99, 0.999].map(|q| tally.quantile_nanoseconds(q) as f64 / 1e3),
            refused: refused.map(|kind| kind.answers).sum(),
            answers,
            intervals: tally.by_interval.iter().map(|count| *count as f64 / interval_seconds).collect(),
        }
    }
}

/// A peer's rounds of one case.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) peer: String,
    pub(crate) class: Class,
    pub(crate) case: Case,
    /// How much was taken, in percent, in the part about it.
    pub(crate) taken: Option<f64>,
    pub(crate) rounds: Vec<Round>,
}

impl Row {
    /// Whether too many calls were refused for the figures to be those of leases.
    pub(crate) fn is_spoiled(&self) -> bool {
        const MAX_REFUSED_SHARE: f64 = 0.01;
        let sum = |of: fn(&Round) -> u64| self.rounds.iter().map(of).sum::<u64>() as f64;
        sum(|round| round.refused) > MAX_REFUSED_SHARE * sum(|round| round.answers)
    }

    pub(crate) fn print_head(title: &str) {
        println!("\n{title}");
        println!(
            "  {:<28} {:>9} {:>24} {:>8} {:>17} {:>8} {:>8} {:>8} {:>8}",
            "", "class", "operations/s", "us CPU", "", "p50 us", "p99 us", "p99.9 us", "refused"
        );
    }

    pub(crate) fn print(&self) {
        let [rate, slowest, fastest] = spread(self.rounds.iter().map(|round| round.per_second));
        let [cpu, least, most] = spread(self.rounds.iter().map(|round| round.cpu_us));
        let [p50, p99, p99_9] =
            [0, 1, 2].map(|place| spread(self.rounds.iter().map(|round| round.latency_us[place]))[0]);
        let refused: u64 = self.rounds.iter().map(|round| round.refused).sum();
        let range = format!("({slowest:.0} to {fastest:.0})");
        let cpu_range = format!("({least:.2} to {most:.2})");
        println!(
            "  {:<28} {:>9} {rate:>8.0} {range:>15} {cpu:>8.2} {cpu_range:>17} {p50:>8.0} {p99:>8.0} {p99_9:>8.0} {refused:>8}{}",
            self.peer,
            self.class.as_str(),
            if self.is_spoiled() { "  SPOILED: too few numbers" } else { "" },
        );
    }

    pub(crate) fn json(&self) -> Value {
        let latency = |place: usize| spread(self.rounds.iter().map(|round| round.latency_us[place]))[0];
        json!({
            "peer": self.peer,
            "class": self.class.as_str(),
            "case": self.case.title(),
            "taken_percent": self.taken,
            "rounds": self.rounds.len(),
            "per_second": spread_json(self.rounds.iter().map(|round| round.per_second)),
            "server_cpu_us": spread_json(self.rounds.iter().map(|round| round.cpu_us)),
            "latency_us": { "p50": latency(0), "p99": latency(1), "p99_9": latency(2) },
            "refused": self.rounds.iter().map(|round| round.refused).sum::<u64>(),
            "per_second_by_interval": self.rounds.iter().map(|round| &round.intervals).collect::<Vec<_>>(),
        })
    }
}
