//! The pool under test, and bugs that can be injected between it and the checker.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use allotd::domain::lease_token::Token;
use allotd::domain::settings::NextState;
use allotd::engine::Pool;
use allotd::engine::Worker;
use allotd::engine::operations::lease::{Lease, LeaseError, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::renew::RenewResult;
use allotd::engine::operations::return_leases::{ReturnError, ReturnItem, ReturnResult};
use allotd::journal::{JournalError, Position};
use allotd::numbers::number::Number;
use allotd::state::number_state::State;
use allotd::state::time::Timestamp;
use rand::RngExt;
use rand::rngs::StdRng;

use super::FIRST_NUMBER;
use super::spec::{Answer, Op, Proof, Seen};

/// A bug, as the callers would meet it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Any token is as good as the right one.
    TokenNotChecked,
    /// A lease is given out of a number that someone holds.
    LeasedTwice,
    /// The return of an older lease ends the newer one.
    OldReturnEndsNewLease,
    /// "Exhausted" is reported without a search.
    FalselyExhausted,
    /// A renewal is confirmed and forgotten.
    RenewalForgotten,
    /// A lease ends before its time.
    EndsEarly,
    /// Answers do not wait for the journal.
    ToldTooEarly,
}

/// A lease that was given out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    number: usize,
    generation: u32,
    until: u32,
    token: Token,
}

/// All leases that were given out, newest last.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<Vec<Given>>);

impl Tokens {
    pub(crate) fn all(&self) -> Vec<Given> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn add(&self, lease: &Lease) -> Answer {
        let given = Given {
            number: (lease.number.get() - FIRST_NUMBER) as usize,
            generation: lease.generation,
            until: lease.expires_at.seconds(),
            token: lease.token,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(given);
        given.answer()
    }

    fn newest(&self, number: usize) -> Option<Given> {
        let all = self.all();
        all.into_iter().filter(|given| given.number == number).max_by_key(|given| given.generation)
    }

    fn token(&self, number: usize, proof: Proof) -> Option<Token> {
        let all = self.all();
        let right = all.iter().find(|given| given.number == number && Some(given.generation) == proof);
        right.map(|given| given.token)
    }
}

impl Given {
    fn answer(&self) -> Answer {
        Answer::Leased { number: self.number, generation: self.generation, until: self.until }
    }

    pub(crate) fn proof(&self) -> (usize, Proof) {
        (self.number, Some(self.generation))
    }
}

pub(crate) fn number(index: usize) -> Number {
    Number::new(FIRST_NUMBER + index as u64).unwrap()
}

/// The pool under test, with the bug that is injected, if any.
pub(crate) struct Subject<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) tokens: &'a Tokens,
    pub(crate) bug: Option<Bug>,
    /// Whether the bug has taken effect.
    pub(crate) shown: &'a AtomicBool,
    /// What the last successful change waits for.
    pub(crate) waits_for: Cell<Option<Position>>,
}

impl Subject<'_> {
    fn is_buggy(&self, bug: Bug) -> bool {
        let buggy = self.bug == Some(bug);
        if buggy {
            self.shown.store(true, Ordering::Relaxed);
        }
        buggy
    }

    /// Makes a call. Returns its answer and what must be committed before it is told. Fails when the journal
    /// does: what it did then is not known.
    pub(crate) fn call(
        &self,
        worker: &mut Worker,
        op: Op,
        random: &mut StdRng,
    ) -> Result<(Answer, Position), JournalError> {
        self.waits_for.set(None);
        let answer = self.answer(worker, op, random)?;
        Ok((answer, self.waits_for.take().unwrap_or_else(|| worker.observed_position())))
    }

    fn answer(&self, worker: &mut Worker, op: Op, random: &mut StdRng) -> Result<Answer, JournalError> {
        match op {
            Op::Lease { ttl } => self.lease(worker, ttl, random),
            Op::Renew { number, proof, ttl } => self.renew(worker, number, proof, ttl),
            Op::Return { number, proof, rest } => self.return_leases(worker, number, proof, rest),
            Op::Lookup { number } => Ok(self.lookup(number)),
            Op::Tick { .. } | Op::Restart => unreachable!("not calls of the pool"),
        }
    }

    fn lease(&self, worker: &mut Worker, ttl: u32, random: &mut StdRng) -> Result<Answer, JournalError> {
        if random.random_ratio(1, 3) {
            if self.bug == Some(Bug::LeasedTwice)
                && let Some(given) = self.tokens.all().last()
            {
                self.shown.store(true, Ordering::Relaxed);
                return Ok(given.answer());
            }
            if self.is_buggy(Bug::FalselyExhausted) {
                return Ok(Answer::Exhausted);
            }
        }
        let asked = if ttl > 1 && self.is_buggy(Bug::EndsEarly) { ttl - 1 } else { ttl };
        let mut leases = Vec::new();
        let request = LeaseRequest { count: 1, ttl_seconds: Some(asked), within: None };
        match self.pool.lease(worker, &request, &mut leases) {
            Ok(position) => self.waits_for.set(Some(position)),
            Err(LeaseError::Exhausted) => return Ok(Answer::Exhausted),
            Err(LeaseError::Busy) => return Ok(Answer::Busy),
            Err(LeaseError::Journal(error)) => return Err(error),
            Err(error) => panic!("{error}"),
        }
        match self.tokens.add(&leases[0]) {
            Answer::Leased { number, generation, until } => {
                Ok(Answer::Leased { number, generation, until: until + ttl - asked })
            }
            other => Ok(other),
        }
    }

    fn held(&self, number: usize, proof: Proof) -> LeaseRef {
        let mut token = self.tokens.token(number, proof);
        if let Some(newest) = self.tokens.newest(number)
            && proof != Some(newest.generation)
            && self.is_buggy(Bug::TokenNotChecked)
        {
            token = Some(newest.token);
        }
        LeaseRef { number: self::number(number), token }
    }

    fn renew(
        &self,
        worker: &mut Worker,
        number: usize,
        proof: Proof,
        ttl: u32,
    ) -> Result<Answer, JournalError> {
        let (mut results, mut asked) = (Vec::new(), ttl);
        if ttl > 1 && self.is_buggy(Bug::RenewalForgotten) {
            asked = 1;
        }
        match self.pool.renew(worker, &[self.held(number, proof)], Some(asked), &mut results) {
            Ok(position) => self.waits_for.set(Some(position)),
            Err(LeaseError::Journal(error)) => return Err(error),
            Err(error) => panic!("{error}"),
        }
        Ok(match results[0] {
            RenewResult::Renewed { expires_at, .. } => {
                Answer::Renewed { until: expires_at.seconds() + ttl - asked }
            }
            RenewResult::Stale => Answer::Stale,
            RenewResult::Blocked { .. } => panic!("no list blocks {number}"),
            RenewResult::Unknown => panic!("{number} is not in the pool"),
        })
    }

    fn return_leases(
        &self,
        worker: &mut Worker,
        number: usize,
        proof: Proof,
        rest: u32,
    ) -> Result<Answer, JournalError> {
        let mut results = Vec::new();
        let then = if rest == 0 { NextState::Available } else { NextState::Rest(rest) };
        let item = ReturnItem { lease: self.held(number, proof), then, outcome: None };
        let position = self.pool.return_leases(worker, &[item], &mut results).map_err(of_journal)?;
        self.waits_for.set(Some(position));
        match results[0] {
            ReturnResult::Returned { state, available_at, .. } => {
                assert_eq!(state == State::Resting, available_at.is_some(), "{:?}", results[0]);
                Ok(Answer::Returned { until: available_at.map(Timestamp::seconds) })
            }
            ReturnResult::Stale => {
                if let Some(newest) = self.tokens.newest(number)
                    && self.is_buggy(Bug::OldReturnEndsNewLease)
                {
                    let lease = LeaseRef { number: self::number(number), token: Some(newest.token) };
                    let item = ReturnItem { lease, then, outcome: None };
                    self.pool.return_leases(worker, &[item], &mut results).map_err(of_journal)?;
                }
                Ok(Answer::Stale)
            }
            ReturnResult::Unknown => panic!("{number} is not in the pool"),
        }
    }

    fn lookup(&self, number: usize) -> Answer {
        let found = self.pool.lookup(self::number(number)).unwrap();
        let until = found.until.map(Timestamp::seconds);
        let seen = match (found.state, until) {
            (State::Available, None) => Seen::Available,
            (State::Leased, Some(until)) => Seen::Leased { until },
            (State::Resting, Some(until)) => Seen::Resting { until },
            other => panic!("{number} is seen as {other:?}"),
        };
        Answer::Saw { generation: found.generation, seen }
    }
}

/// The journal's error: no rest of a test is too long, and there are no lists.
fn of_journal(error: ReturnError) -> JournalError {
    match error {
        ReturnError::Journal(error) => error,
        other => panic!("{other}"),
    }
}
