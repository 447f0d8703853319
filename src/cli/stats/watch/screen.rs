//! The state of the screen: the last answer, the selection, and what went wrong.

use std::time::{Duration, Instant};

use crate::client::ClientError;
use crate::http::response::stats::{PoolStats, Stats};

use super::keys::{Action, Mode};
use super::poller::Report;
use super::rates::{Answered, Rates};

/// The order of the pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolOrder {
    SoonestExhausted,
    Name,
}

/// What to do after an action.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    GoOn,
    Quit,
    /// Have the daemon pause (true) or resume a pool.
    SetPaused {
        pool: String,
        paused: bool,
    },
}

/// Why there is no new answer.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) since: Instant,
    pub(crate) message: String,
}

/// All that is drawn.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(crate) server: String,
    pub(crate) rates: Rates,
    pub(crate) trouble: Option<Trouble>,
    /// What happened last, until the next key.
    pub(crate) notice: Option<String>,
    pub(crate) filter: String,
    pub(crate) order: PoolOrder,
    interval: Duration,
    answered: Option<Answered>,
    started: Instant,
    selected: Option<String>,
    mode: Mode,
}

impl Screen {
    pub(crate) fn new(server: String, interval: Duration) -> Self {
        Self {
            server,
            rates: Rates::default(),
            trouble: None,
            notice: None,
            filter: String::new(),
            order: PoolOrder::SoonestExhausted,
            interval,
            answered: None,
            started: Instant::now(),
            selected: None,
            mode: Mode::Browse,
        }
    }

    pub(crate) fn mode(&self) -> &Mode {
        &self.mode
    }

    /// The seconds that `looks` updates span.
    pub(crate) fn seconds(&self, looks: usize) -> u64 {
        self.interval.as_secs() * looks as u64
    }

    /// The last answer.
    pub(crate) fn stats(&self) -> Option<&Stats> {
        self.answered.as_ref().map(|answered| &*answered.stats)
    }

    /// How long there has been no answer; `None` while that is within the expected time.
    pub(crate) fn silent_for(&self, now: Instant) -> Option<Duration> {
        let last = self.answered.as_ref().map_or(self.started, |answered| answered.at);
        let silent = now.saturating_duration_since(last);
        (silent > self.interval * 2 + Duration::from_secs(1)).then_some(silent)
    }

    /// Takes a report of the poller's thread.
    pub(crate) fn take(&mut self, report: Report) {
        match report {
            Report::Stats { at, result: Ok(stats) } => self.take_stats(stats, at),
            Report::Stats { at, result: Err(error) } => {
                let since = self.trouble.as_ref().map_or(at, |trouble| trouble.since);
                self.trouble = Some(Trouble { since, message: one_line(&error) });
            }
            Report::Paused { pool, paused, result } => {
                self.notice = Some(match result {
                    Ok(()) if paused => format!("{pool} is paused: new leases are refused"),
                    Ok(()) => format!("{pool} hands out numbers again"),
                    Err(error) => one_line(&error),
                });
            }
        }
    }

    fn take_stats(&mut self, stats: Box<Stats>, at: Instant) {
        self.trouble = None;
        if let Some(before) = &self.answered {
            if stats.uptime_seconds < before.stats.uptime_seconds {
                self.notice = Some("the daemon was started again".to_owned());
            }
            let seconds = at.saturating_duration_since(before.at).as_secs_f64();
            self.rates.take(&before.stats, &stats, seconds);
        }
        self.answered = Some(Answered { stats, at });
        self.keep_selection();
    }

    /// The pools that the filter lets through, in their order.
    pub(crate) fn pools(&self) -> Vec<(&str, &PoolStats)> {
        let all = self.stats().into_iter().flat_map(|stats| &stats.pools);
        let wanted = self.filter.to_lowercase();
        let shown = all.filter(|(name, _)| name.to_lowercase().contains(&wanted));
        let mut pools: Vec<_> = shown.map(|(name, pool)| (name.as_str(), pool)).collect();
        if self.order == PoolOrder::SoonestExhausted {
            // The sort is stable: pools that last equally long stay in the order of their names.
            pools.sort_by_key(|(_, pool)| match pool.available {
                0 => 0,
                _ => pool.exhaustion_seconds.unwrap_or(u64::MAX),
            });
        }
        pools
    }

    /// The place of the selected pool among [`Self::pools`].
    pub(crate) fn selected(&self) -> Option<usize> {
        self.pools().iter().position(|(name, _)| Some(*name) == self.selected.as_deref())
    }

    /// Selects the first pool if the selected one is not shown any more.
    fn keep_selection(&mut self) {
        if self.selected().is_none() {
            self.select(|_| 0);
        }
    }

    /// Selects the pool at the place that `place` computes from the present place and the last one.
    fn select(&mut self, place: impl FnOnce((usize, usize)) -> usize) {
        let pools = self.pools();
        let last = pools.len().saturating_sub(1);
        let place = place((self.selected().unwrap_or(0), last)).min(last);
        self.selected = pools.get(place).map(|(name, _)| (*name).to_owned());
    }

    /// Carries out the action of a key.
    pub(crate) fn act(&mut self, action: Action) -> Next {
        self.notice = None;
        match action {
            Action::Quit => return Next::Quit,
            Action::Leave => return self.leave(),
            Action::Up => self.select(|(place, _)| place.saturating_sub(1)),
            Action::Down => self.select(|(place, _)| place + 1),
            Action::First => self.select(|_| 0),
            Action::Last => self.select(|(_, last)| last),
            Action::ChangeOrder => {
                self.order = match self.order {
                    PoolOrder::SoonestExhausted => PoolOrder::Name,
                    PoolOrder::Name => PoolOrder::SoonestExhausted,
                }
            }
            Action::StartFilter => self.mode = Mode::Filter,
            Action::FilterWith(typed) => self.filter.push(typed),
            Action::FilterErase => drop(self.filter.pop()),
            Action::FilterDone => self.mode = Mode::Browse,
            Action::AskPause => self.ask_pause(),
            Action::Help => self.mode = Mode::Help,
            Action::Confirm => {
                if let Mode::Confirm { pool, paused } = std::mem::replace(&mut self.mode, Mode::Browse) {
                    return Next::SetPaused { pool, paused };
                }
            }
        }
        self.keep_selection();
        Next::GoOn
    }

    fn leave(&mut self) -> Next {
        match std::mem::replace(&mut self.mode, Mode::Browse) {
            Mode::Browse if self.filter.is_empty() => return Next::Quit,
            Mode::Browse | Mode::Filter => self.filter.clear(),
            Mode::Confirm { .. } => self.notice = Some("nothing was changed".to_owned()),
            Mode::Help => {}
        }
        self.keep_selection();
        Next::GoOn
    }

    fn ask_pause(&mut self) {
        let found = self.selected().and_then(|place| self.pools().get(place).copied());
        let Some((name, pool)) = found else { return };
        self.mode = Mode::Confirm { pool: name.to_owned(), paused: !pool.paused };
    }
}

fn one_line(error: &ClientError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::stats::answer;

    const ANSWER: &str = include_str!("../../../../tests/fixtures/stats.json");

    fn screen() -> Screen {
        let mut screen = Screen::new(String::new(), Duration::from_secs(1));
        let mut stats = Box::new(answer::parse(ANSWER).unwrap());
        for (name, seconds) in [("de", None), ("ru-mobile", Some(60))] {
            stats.pools.get_mut(name).unwrap().exhaustion_seconds = seconds;
        }
        screen.take(Report::Stats { at: Instant::now(), result: Ok(stats) });
        screen
    }

    fn names(screen: &Screen) -> Vec<&str> {
        screen.pools().into_iter().map(|(name, _)| name).collect()
    }

    fn selected(screen: &Screen) -> Option<&str> {
        screen.selected().map(|place| names(screen)[place])
    }

    #[test]
    fn pools_are_sorted_and_filtered_and_the_selected_one_stays() {
        let mut screen = screen();
        assert_eq!(names(&screen), ["tiny", "ru-mobile", "de"]);
        screen.act(Action::Down);
        assert_eq!(selected(&screen), Some("ru-mobile"));
        screen.act(Action::ChangeOrder);
        assert_eq!(names(&screen), ["de", "ru-mobile", "tiny"]);
        assert_eq!(selected(&screen), Some("ru-mobile"));
        for _ in 0..5 {
            screen.act(Action::Up);
        }
        assert_eq!(selected(&screen), Some("de"));
        screen.act(Action::StartFilter);
        screen.act(Action::FilterWith('I'));
        assert_eq!((names(&screen), selected(&screen)), (vec!["ru-mobile", "tiny"], Some("ru-mobile")));
        screen.act(Action::FilterWith('x'));
        assert_eq!(selected(&screen), None);
        screen.act(Action::AskPause);
        assert_eq!(*screen.mode(), Mode::Filter);
        assert_eq!(screen.act(Action::Leave), Next::GoOn);
        assert_eq!(names(&screen).len(), 3);
        assert_eq!(screen.act(Action::Leave), Next::Quit);
    }

    #[test]
    fn a_pool_is_paused_after_a_yes_only() {
        let mut screen = screen();
        screen.act(Action::AskPause);
        assert_eq!(screen.act(Action::Leave), Next::GoOn);
        assert_eq!(screen.notice.as_deref(), Some("nothing was changed"));
        assert_eq!(screen.act(Action::Confirm), Next::GoOn);
        screen.act(Action::AskPause);
        let next = screen.act(Action::Confirm);
        assert_eq!(next, Next::SetPaused { pool: "tiny".to_owned(), paused: true });
        assert_eq!(*screen.mode(), Mode::Browse);
    }
}
