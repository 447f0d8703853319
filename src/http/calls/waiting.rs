//! The search of a lease for a number: once, or for as long as its `wait` says.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::engine::operations::lease::LeaseError;
use crate::engine::pool::Pool;
use crate::engine::segment::within::Within;
use crate::engine::waiting::line::Filter;
use crate::engine::waiting::signal::Signal;
use crate::engine::waiting::ticket::{Ticket, TooManyWaiters};
use crate::engine::worker::Patience;
use crate::http::calls::{Api, Reply};
use crate::http::request::fields::WaitSeconds;
use crate::http::request::within::WithinField;
use crate::http::response::body::Body;
use crate::http::response::code::Code;
use crate::http::response::json;
use crate::http::response::problem::Problem;
use crate::http::wait_link::WaitLink;
use crate::http::worker_state::{self, CallState};
use crate::state::time::Timestamp;

/// How long a call waits for another one with the same key that is under way,
const KEY_WAIT: Duration = Duration::from_secs(10);
/// and how long it pauses before it looks again.
const KEY_PAUSE: Duration = Duration::from_millis(1);
/// How long a call that waits pauses when a search had to be given up.
const SEARCH_PAUSE: Duration = Duration::from_millis(10);

/// Why a lease got nothing.
pub(super) enum Refused {
    Exhausted,
    /// Another call with the key is under way.
    Pending,
    /// The search was given up.
    ForNow(Problem),
    Problem(Problem),
}

/// A lease that is searched for.
pub(super) trait Search: Sync {
    /// Searches once.
    fn search(
        &self,
        patience: Patience,
    ) -> impl Future<Output = Result<Result<Body, Refused>, Problem>> + Send;
    /// The pools to choose from, and what of each.
    fn lines(&self) -> Vec<(Arc<Pool>, Filter)>;
    /// What an earlier call was told that this one repeats; a search in vain if it repeats none. `None` without a key.
    fn told(&self, state: &mut CallState) -> Option<Result<Body, Refused>>;
    /// Takes up what was added to the pools.
    fn renew(&self) -> impl Future<Output = Result<(), Problem>> + Send;
    /// The refusal of a call that found nothing.
    fn exhausted(&self, now: Timestamp) -> impl Future<Output = Result<Problem, Problem>> + Send;
}

/// The filter of a call.
pub(super) fn filter_of(within: Option<&Within>) -> Filter {
    within.map(|within| within.ranges().into())
}

/// The same numbers of a pool, with those that were added; `None` if none can have been.
pub(super) async fn renewed(pool: &Arc<Pool>, within: &Within) -> Result<Option<Within>, Problem> {
    if pool.is_present(within) {
        return Ok(None);
    }
    Ok(Some(WithinField(within.ranges().to_vec()).of(pool).await?))
}

/// Searches until there is a number, or the time is over.
pub(super) async fn find(call: &impl Search, mut wait: Wait) -> Reply {
    let started = Instant::now();
    let mut goes_on = true;
    if wait.is_behind_others(call) {
        match worker_state::with(|state| call.told(&mut state.calls)) {
            Some(Ok(body)) => return Ok(json::ok_json(body)),
            Some(Err(Refused::Problem(problem))) => return Err(problem),
            Some(Err(Refused::Pending | Refused::ForNow(_))) => {}
            Some(Err(Refused::Exhausted)) | None => {
                wait.join(call.lines())?;
                goes_on = wait.until_woken().await?;
            }
        }
    }
    while goes_on {
        wait.begin();
        if wait.has_place() {
            call.renew().await?;
        }
        goes_on = match call.search(wait.patience()).await? {
            Ok(body) => return Ok(json::ok_json(body)),
            Err(Refused::Problem(problem)) => return Err(problem),
            Err(Refused::Pending) if started.elapsed() < KEY_WAIT => {
                tokio::time::sleep(KEY_PAUSE).await;
                true
            }
            Err(Refused::Pending) => return Err(LeaseError::KeyPending.into()),
            Err(Refused::ForNow(problem)) => {
                if !wait.pause().await {
                    return Err(problem);
                }
                true
            }
            Err(Refused::Exhausted) => wait.after_search(call).await?,
        };
    }
    let now = wait.api.engine.now();
    if wait.may_wait() {
        let count = |pool: &Pool| worker_state::with(|state| pool.gave_up(&state.calls.engine));
        call.lines().iter().for_each(|(pool, _)| count(pool));
    }
    drop(wait);
    Err(call.exhausted(now).await?)
}

/// How a call waits. It leaves the lines when this is dropped.
pub(super) struct Wait {
    api: Arc<Api>,
    link: Arc<WaitLink>,
    /// `None` if it does not wait.
    until: Option<tokio::time::Instant>,
    signal: Arc<Signal>,
    tickets: Vec<Ticket>,
}

impl Wait {
    pub(super) fn new(api: &Arc<Api>, link: Arc<WaitLink>, wait: Option<WaitSeconds>) -> Self {
        let seconds = wait.map_or(0, |wait| wait.0);
        let until = (seconds > 0).then(|| tokio::time::Instant::now() + Duration::from_secs(seconds.into()));
        Self { api: Arc::clone(api), link, until, signal: Arc::default(), tickets: Vec::new() }
    }

    /// Whether it waits if it finds nothing.
    pub(super) fn may_wait(&self) -> bool {
        self.until.is_some()
    }

    /// Whether the call has a place in the lines.
    fn has_place(&self) -> bool {
        !self.tickets.is_empty()
    }

    fn patience(&self) -> Patience {
        match (self.may_wait(), self.has_place()) {
            (false, _) => Patience::None,
            (true, false) => Patience::MayWait,
            (true, true) => Patience::InLine,
        }
    }

    fn begin(&self) {
        self.tickets.iter().for_each(Ticket::begin);
    }

    /// Whether others wait for the same, and the call as well: it then comes after them.
    fn is_behind_others(&self, call: &impl Search) -> bool {
        self.may_wait() && call.lines().iter().any(|(pool, filter)| pool.has_line(filter))
    }

    /// After a search in vain, waits for the next. Returns whether there is one.
    async fn after_search(&mut self, call: &impl Search) -> Result<bool, Problem> {
        if self.until.is_none() {
            return Ok(false);
        }
        if !self.has_place() {
            self.join(call.lines())?;
        } else if self.tickets.iter().fold(false, |again, ticket| ticket.rest() | again) {
            return Ok(true);
        }
        self.until_woken().await
    }

    fn join(&mut self, lines: Vec<(Arc<Pool>, Filter)>) -> Result<(), Problem> {
        for (pool, filter) in lines {
            let ticket = pool.join_line(filter, &self.signal);
            self.tickets.push(ticket.map_err(|error: TooManyWaiters| {
                Problem::new(Code::Overloaded, format!("The pool {}: {error}", pool.name()))
            })?);
        }
        Ok(())
    }

    /// Waits for the signal. Returns whether it came: else the time is over, or the client has gone.
    async fn until_woken(&self) -> Result<bool, Problem> {
        let Some(until) = self.until else { return Ok(false) };
        self.check_draining()?;
        let began = Instant::now();
        self.link.begin();
        let is_woken = tokio::select! {
            biased;
            () = poll_fn(|cx| self.signal.poll_given(cx)) => true,
            () = poll_fn(|cx| self.link.poll_gone(cx)) => false,
            () = tokio::time::sleep_until(until) => false,
        };
        self.link.end(began.elapsed());
        self.check_draining()?;
        Ok(is_woken)
    }

    fn check_draining(&self) -> Result<(), Problem> {
        // The drain begins before it wakes the calls.
        if self.api.draining.load(Ordering::SeqCst) {
            let detail = "The daemon ends, and nobody waits any more: wait at the one that follows it";
            return Err(Problem::new(Code::NotReady, detail));
        }
        Ok(())
    }

    /// Pauses after a search that was given up. Returns whether to search again.
    async fn pause(&self) -> bool {
        let next = tokio::time::Instant::now() + SEARCH_PAUSE;
        if self.until.is_none_or(|until| next > until) {
            return false;
        }
        tokio::time::sleep_until(next).await;
        true
    }
}
