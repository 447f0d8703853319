//! Counts and latencies of the answers.

use std::time::Duration;

use histogram::Histogram;

use super::protocol::Received;

/// A bucket of the histogram is at most 2^-8 of its values wide: a percentile is up to 0.4 % too high.
const GROUPING_POWER: u8 = 8;
/// Latencies are kept in nanoseconds up to 2^42 (73 minutes); longer ones count as that.
const MAX_VALUE_POWER: u8 = 42;
/// Most kinds of answers that are distinguished; further ones count with the last.
const MAX_KINDS: usize = 64;

/// Answers to one call with one status and code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// What was asked.
    pub call: &'static str,
    /// See [`Received::status`].
    pub status: u16,
    /// See [`Received::code`].
    pub code: String,
    /// Answers within the measured time.
    pub answers: u64,
    /// Numbers of those answers.
    pub numbers: u64,
    /// Answers of the whole run: warm-up and end included.
    pub answers_of_run: u64,
    /// Numbers of those answers.
    pub numbers_of_run: u64,
}

/// Counts and latencies of one thread, or of all.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Start of the measured time, in nanoseconds since the start of the run.
    from: u64,
    /// End of the measured time, likewise.
    to: u64,
    interval: u64,
    /// By call, status and code.
    pub kinds: Vec<Kind>,
    /// Answers in each interval of the measured time.
    pub by_interval: Vec<u64>,
    /// Requests that were due in the measured time but not sent in it.
    pub unsent: u64,
    /// Requests without an answer when the run ended.
    pub unanswered: u64,
    nanoseconds: Histogram,
    longest_nanoseconds: u64,
    latencies: u64,
}

impl Tally {
    /// For a run that is measured for `time` after `warm_up`, with a count of answers per `interval`.
    ///
    /// # Panics
    ///
    /// Never: the histogram's powers are constants that it accepts.
    pub fn new(warm_up: Duration, time: Duration, interval: Duration) -> Self {
        let [from, time, interval] = [warm_up, time, interval].map(nanoseconds);
        let intervals = time.div_ceil(interval.max(1)) as usize;
        let nanoseconds = Histogram::new(GROUPING_POWER, MAX_VALUE_POWER)
            .expect("the powers are constants that the histogram accepts");
        Self {
            from,
            to: from + time,
            interval: interval.max(1),
            kinds: Vec::new(),
            by_interval: vec![0; intervals],
            unsent: 0,
            unanswered: 0,
            nanoseconds,
            longest_nanoseconds: 0,
            latencies: 0,
        }
    }

    /// Start of the measured time, in nanoseconds since the start of the run.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// End of the measured time, in nanoseconds since the start of the run.
    pub fn to(&self) -> u64 {
        self.to
    }

    /// Counts an answer that came at `now` to a request made at `asked`.
    pub fn answer(&mut self, now: u64, asked: u64, heard: &Received<'_>) {
        let measured = (self.from..self.to).contains(&now);
        if measured {
            self.by_interval[((now - self.from) / self.interval) as usize] += 1;
        }
        let kind = self.kind(heard);
        kind.answers += u64::from(measured);
        kind.numbers += if measured { heard.numbers } else { 0 };
        kind.answers_of_run += 1;
        kind.numbers_of_run += heard.numbers;
        self.latency(asked, now, 1);
    }

    /// Counts `count` latencies of requests made at `asked`, if that is within the measured time.
    pub fn latency(&mut self, asked: u64, now: u64, count: u64) {
        if !(self.from..self.to).contains(&asked) {
            return;
        }
        let latency = now.saturating_sub(asked);
        self.longest_nanoseconds = self.longest_nanoseconds.max(latency);
        self.latencies += count;
        // Cannot fail: the value was cut to the histogram's range.
        let _ = self.nanoseconds.add(latency.min((1 << MAX_VALUE_POWER) - 1), count);
    }

    fn kind(&mut self, heard: &Received<'_>) -> &mut Kind {
        let same = |kind: &Kind| {
            kind.status == heard.status && kind.call == heard.call && kind.code.as_bytes() == heard.code
        };
        let place = match self.kinds.iter().position(same) {
            Some(place) => place,
            None if self.kinds.len() == MAX_KINDS => MAX_KINDS - 1,
            None => {
                self.kinds.push(Kind {
                    call: heard.call,
                    status: heard.status,
                    code: String::from_utf8_lossy(heard.code).into_owned(),
                    answers: 0,
                    numbers: 0,
                    answers_of_run: 0,
                    numbers_of_run: 0,
                });
                self.kinds.len() - 1
            }
        };
        &mut self.kinds[place]
    }

    /// Adds what another thread of the same run counted.
    pub fn merge(&mut self, other: &Self) {
        for kind in &other.kinds {
            let heard = Received {
                bytes: 0,
                call: kind.call,
                numbers: 0,
                status: kind.status,
                code: kind.code.as_bytes(),
            };
            let own = self.kind(&heard);
            own.answers += kind.answers;
            own.numbers += kind.numbers;
            own.answers_of_run += kind.answers_of_run;
            own.numbers_of_run += kind.numbers_of_run;
        }
        for (own, count) in self.by_interval.iter_mut().zip(&other.by_interval) {
            *own += count;
        }
        self.unsent += other.unsent;
        self.unanswered += other.unanswered;
        self.longest_nanoseconds = self.longest_nanoseconds.max(other.longest_nanoseconds);
        self.latencies += other.latencies;
        // Cannot fail: both have the same powers.
        if let Ok(sum) = self.nanoseconds.wrapping_add(&other.nanoseconds) {
            self.nanoseconds = sum;
        }
    }

    /// Answers within the measured time.
    pub fn answers(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.answers).sum()
    }

    /// Numbers of the answers within the measured time.
    pub fn numbers(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.numbers).sum()
    }

    /// Answers of the whole run.
    pub fn answers_of_run(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.answers_of_run).sum()
    }

    /// How many latencies the percentiles are of.
    pub fn latencies(&self) -> u64 {
        self.latencies
    }

    /// A percentile (0 to 1) of the latencies, in nanoseconds; 1 is the longest, exactly. 0 if there are none.
    pub fn quantile_nanoseconds(&self, quantile: f64) -> u64 {
        let bucket = self.nanoseconds.quantile_bucket(quantile).ok().flatten();
        match bucket {
            Some(bucket) if quantile < 1.0 => bucket.end().min(self.longest_nanoseconds),
            _ => self.longest_nanoseconds,
        }
    }
}

/// A duration in whole nanoseconds.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(status: u16, code: &'static [u8], numbers: u64) -> Received<'static> {
        Received { bytes: 1, call: "lease", numbers, status, code }
    }

    #[test]
    fn only_the_measured_time_is_measured_and_all_of_it_is_counted() {
        let second = Duration::from_secs(1);
        let mut tally = Tally::new(second, 2 * second, second);
        let (from, to) = (tally.from(), tally.to());
        tally.answer(from - 1, 0, &heard(200, b"", 3));
        tally.answer(from, from - 1, &heard(200, b"", 5));
        tally.answer(to - 1, from + 10, &heard(409, b"exhausted", 0));
        tally.answer(to + 1_000, to - 1, &heard(200, b"", 7));
        assert_eq!((tally.answers(), tally.numbers(), tally.answers_of_run()), (2, 5, 4));
        assert_eq!(tally.by_interval, [1, 1]);
        assert_eq!((tally.latencies(), tally.quantile_nanoseconds(1.0)), (2, to - from - 11));
        let mut both = Tally::new(second, 2 * second, second);
        both.merge(&tally);
        both.merge(&tally);
        assert_eq!((both.answers(), both.latencies(), both.kinds.len()), (4, 4, 2));
        assert_eq!((both.kinds[1].code.as_str(), both.kinds[1].answers), ("exhausted", 2));
    }

    #[test]
    fn percentiles_are_within_the_stated_error() {
        let mut tally = Tally::new(Duration::ZERO, Duration::from_secs(1), Duration::from_secs(1));
        for latency in 1..=100_000_u64 {
            tally.latency(0, latency * 1_000, 1);
        }
        for quantile in [0.5, 0.9, 0.99, 0.999] {
            let got = tally.quantile_nanoseconds(quantile) as f64;
            let error = got / (quantile * 1e8) - 1.0;
            assert!((-1e-5..=1.0 / 256.0).contains(&error), "{quantile}: {got}");
        }
        assert_eq!(tally.quantile_nanoseconds(1.0), 100_000_000);
    }
}
