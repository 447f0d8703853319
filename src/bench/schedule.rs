//! When the requests of an open loop are due: at a fixed rate, whatever the server does.

/// In how many groups the requests that were never sent are counted: their waits rise evenly.
const UNSENT_GROUPS: u64 = 1_000;

/// Times in nanoseconds since the start of the run.
#[derive(Debug, Clone)]
pub struct Schedule {
    first: f64,
    interval: f64,
    end: u64,
    /// How many were taken.
    taken: u64,
}

impl Schedule {
    /// The share of one of `threads` threads in a rate, until `end` (in nanoseconds). The threads alternate.
    pub fn new(rate_per_second: f64, thread: usize, threads: usize, end: u64) -> Self {
        let interval = 1e9 / rate_per_second;
        Self { first: interval * thread as f64, interval: interval * threads as f64, end, taken: 0 }
    }

    fn time_of(&self, index: u64) -> u64 {
        // Not summed up: that would drift.
        #[allow(clippy::cast_sign_loss, reason = "both parts are positive")]
        let time = self.interval.mul_add(index as f64, self.first) as u64;
        time
    }

    /// When the next request is due; `None` if that is after the end.
    pub fn next(&self) -> Option<u64> {
        let due = self.time_of(self.taken);
        (due < self.end).then_some(due)
    }

    /// Takes the next request if it is due by `now`; returns when it was due.
    pub fn take(&mut self, now: u64) -> Option<u64> {
        let due = self.next().filter(|due| *due <= now)?;
        self.taken += 1;
        Some(due)
    }

    /// Groups the requests that were due from `from` on and never taken. Calls `on_group` with the size of
    /// each group, and since when its middle request waits. Returns how many requests there are.
    pub fn unsent(&self, from: u64, mut on_group: impl FnMut(u64, u64)) -> u64 {
        #[allow(clippy::cast_sign_loss, reason = "a negative number of intervals becomes 0")]
        let count_until = |time: u64| ((time as f64 - self.first) / self.interval).ceil() as u64;
        let (first, last) = (self.taken.max(count_until(from)), count_until(self.end));
        let count = last.saturating_sub(first);
        let groups = count.min(UNSENT_GROUPS);
        for group in 0..groups {
            let (start, end) = (first + count * group / groups, first + count * (group + 1) / groups);
            on_group(end - start, self.time_of(start.midpoint(end)));
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn requests_are_due_at_the_rate_whenever_they_are_taken() {
        let mut schedule = Schedule::new(1000.0, 0, 1, SECOND);
        assert_eq!(schedule.take(0), Some(0));
        assert_eq!(schedule.take(999_999), None);
        assert_eq!(schedule.next(), Some(1_000_000));
        // The thread was away for half a second: all is still due at its own time.
        let late: Vec<u64> = std::iter::from_fn(|| schedule.take(SECOND / 2)).collect();
        assert_eq!((late.len(), late[0], late[499]), (500, 1_000_000, SECOND / 2));
        let rest = std::iter::from_fn(|| schedule.take(u64::MAX)).count();
        assert_eq!((rest, schedule.next()), (499, None));
    }

    #[test]
    fn threads_take_turns() {
        let mut all: Vec<u64> = Vec::new();
        for thread in 0..3 {
            let mut schedule = Schedule::new(1e6, thread, 3, SECOND / 1000);
            all.extend(std::iter::from_fn(|| schedule.take(u64::MAX)));
        }
        all.sort_unstable();
        assert_eq!(all, (0..1000).map(|at| at * 1000).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_not_sent_is_counted_from_its_own_time() {
        let mut schedule = Schedule::new(10_000.0, 0, 1, SECOND);
        while schedule.take(SECOND / 10).is_some() {}
        let (mut counted, mut waited) = (0, 0);
        let unsent = schedule.unsent(SECOND / 2, |count, since| {
            counted += count;
            waited += count * (SECOND - since);
        });
        assert_eq!((unsent, counted), (5000, 5000));
        // From 0.5 s to nothing: a quarter of a second on average.
        assert!((waited / unsent).abs_diff(SECOND / 4) < SECOND / 1000, "{waited}");
        while schedule.take(u64::MAX).is_some() {}
        assert_eq!(schedule.unsent(0, |_, _| ()), 0);
    }
}
