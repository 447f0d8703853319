//! One thread of a load: its connections, served as they become ready.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};

use super::connection::Connection;
use super::error::LoadError;
use super::protocol::Protocol;
use super::schedule::Schedule;
use super::tally::{Tally, nanoseconds};

/// How much is read from a connection at once, in bytes.
const READ_BYTES: usize = 256 << 10;
/// Most ready connections that one wait reports.
const EVENTS: usize = 256;
/// A request that is due sooner is waited for without sleeping: waking up takes about as long.
const SPIN_NANOSECONDS: u64 = 20_000;
/// Longest sleep, so that a stop is seen.
const MAX_SLEEP: Duration = Duration::from_millis(50);
/// The event data of the timer; that of a connection is its place.
const TIMER: u64 = u64::MAX;

/// When requests are made.
pub(super) enum Pace {
    /// As soon as all requests in flight on the connection are answered.
    Closed,
    /// When they are due.
    Open {
        schedule: Schedule,
        /// Connections with space for a request, each as often as it has space; longest idle first.
        room: VecDeque<usize>,
    },
}

pub(super) struct Worker<'a, T> {
    epoll: OwnedFd,
    timer: OwnedFd,
    connections: Vec<Connection<T>>,
    /// Most requests under way on a connection.
    depth: usize,
    /// How long answers are waited for when time is over, in nanoseconds.
    patience: u64,
    pace: Pace,
    tally: Tally,
    start: Instant,
    stop: &'a AtomicBool,
    buffer: Vec<u8>,
    /// Set when time is over: only owed requests are sent.
    ending: bool,
}

impl<'a, T: Protocol> Worker<'a, T> {
    pub(super) fn new(
        connections: Vec<Connection<T>>,
        (depth, patience): (usize, Duration),
        schedule: Option<Schedule>,
        tally: Tally,
        stop: &'a AtomicBool,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let add = epoll::EventFlags::IN;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), add)?;
        for (index, connection) in connections.iter().enumerate() {
            epoll::add(&epoll, connection, epoll::EventData::new_u64(index as u64), add)?;
        }
        let pace = match schedule {
            None => Pace::Closed,
            Some(schedule) => {
                let room = (0..depth).flat_map(|_| 0..connections.len()).collect();
                Pace::Open { schedule, room }
            }
        };
        let buffer = vec![0; READ_BYTES];
        let start = Instant::now();
        let patience = nanoseconds(patience);
        Ok(Self {
            epoll,
            timer,
            connections,
            depth,
            patience,
            pace,
            tally,
            start,
            stop,
            buffer,
            ending: false,
        })
    }

    /// Nanoseconds since the start of the run.
    fn now(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    /// Runs to the end of the measured time, and waits for the last answers.
    pub(super) fn run(mut self, start: Instant) -> Result<Tally, LoadError> {
        self.start = start;
        let mut events = Vec::with_capacity(EVENTS);
        if matches!(self.pace, Pace::Closed) {
            for index in 0..self.connections.len() {
                let now = self.now();
                self.ask_again(index, 0, now)?;
            }
        }
        while !self.stop.load(Ordering::Relaxed) {
            let now = self.now();
            if now >= self.tally.to() {
                break;
            }
            self.send_due(now)?;
            self.wait(&mut events)?;
            self.serve_all(&events)?;
        }
        self.end(&mut events)?;
        Ok(self.tally)
    }

    /// Waits for the last answers, and counts what never came.
    fn end(&mut self, events: &mut Vec<epoll::Event>) -> Result<(), LoadError> {
        let (from, to) = (self.tally.from(), self.tally.to());
        if let Pace::Open { schedule, .. } = &self.pace {
            let tally = &mut self.tally;
            let unsent = schedule.unsent(from, |count, since| tally.latency(since, to, count));
            tally.unsent = unsent;
        }
        self.ending = true;
        let deadline = to.saturating_add(self.patience);
        for index in 0..self.connections.len() {
            let now = self.now();
            self.ask_again(index, 0, now)?;
        }
        while self.connections.iter().any(|connection| !connection.under_way().is_empty()) {
            if self.now() >= deadline || self.stop.load(Ordering::Relaxed) {
                break;
            }
            self.wait(events)?;
            self.serve_all(events)?;
        }
        let now = self.now();
        for asked in self.connections.iter().flat_map(Connection::under_way) {
            self.tally.unanswered += 1;
            self.tally.latency(*asked, now, 1);
        }
        Ok(())
    }

    /// Sends what is due by now, as far as connections have space.
    fn send_due(&mut self, now: u64) -> Result<(), LoadError> {
        let mut last = None;
        while let Pace::Open { schedule, room } = &mut self.pace {
            let Some(&index) = room.front() else { break };
            let Some(due) = schedule.take(now) else { break };
            room.pop_front();
            self.connections[index].ask(due);
            // Requests that are due at once and go to one connection go in one write.
            if let Some(before) = last.replace(index).filter(|before| *before != index) {
                self.flush(before)?;
            }
        }
        last.map_or(Ok(()), |index| self.flush(index))
    }

    /// Sleeps until a connection is ready or a request is due.
    fn wait(&self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let mut sleep = MAX_SLEEP;
        if let Pace::Open { schedule, room } = &self.pace
            && !self.ending
            && !room.is_empty()
            && let Some(due) = schedule.next()
        {
            let until_due = due.saturating_sub(self.now());
            if until_due < SPIN_NANOSECONDS {
                sleep = Duration::ZERO;
            } else {
                // epoll's own timeout has only milliseconds.
                let spec = Itimerspec { it_interval: timespec(0), it_value: timespec(until_due) };
                rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
            }
        }
        events.clear();
        let timeout = timespec(nanoseconds(sleep));
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn serve_all(&mut self, events: &[epoll::Event]) -> Result<(), LoadError> {
        for event in events {
            let place = event.data.u64();
            if place == TIMER {
                self.disarm_timer()?;
            } else {
                self.serve(place as usize, event.flags)?;
            }
        }
        Ok(())
    }

    fn disarm_timer(&self) -> io::Result<()> {
        let never = Itimerspec { it_interval: timespec(0), it_value: timespec(0) };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &never)?;
        Ok(())
    }

    /// Sends and reads what one ready connection can.
    fn serve(&mut self, index: usize, ready: epoll::EventFlags) -> Result<(), LoadError> {
        if ready.contains(epoll::EventFlags::OUT) {
            self.flush(index)?;
        }
        if ready == epoll::EventFlags::OUT {
            return Ok(());
        }
        let connection = &mut self.connections[index];
        let bytes = match connection.read(&mut self.buffer) {
            Ok(None) => return Ok(()),
            Ok(Some(0)) => return Err(self.gone(None)),
            Ok(Some(bytes)) => bytes,
            Err(error) => return Err(self.gone(Some(error))),
        };
        let now = nanoseconds(self.start.elapsed());
        let tally = &mut self.tally;
        let answers =
            connection.hear(&self.buffer[..bytes], |asked, heard| tally.answer(now, asked, heard))?;
        self.ask_again(index, answers, now)
    }

    /// Sends what may be sent on a connection that got `answers` answers.
    fn ask_again(&mut self, index: usize, answers: usize, now: u64) -> Result<(), LoadError> {
        let connection = &mut self.connections[index];
        let under_way = connection.under_way().len();
        match &mut self.pace {
            _ if self.ending => {
                let owed = (under_way..self.depth).take_while(|_| connection.ask_last(now)).count();
                if owed == 0 {
                    return Ok(());
                }
            }
            Pace::Open { room, .. } => {
                room.extend(std::iter::repeat_n(index, answers));
                return Ok(());
            }
            // A pipeline is sent in one write, as a client that batches does.
            Pace::Closed if under_way == 0 => (0..self.depth).for_each(|_| connection.ask(now)),
            Pace::Closed => return Ok(()),
        }
        self.flush(index)
    }

    /// Sends what a connection has to send; if its socket has no space, epoll reports when it has.
    fn flush(&mut self, index: usize) -> Result<(), LoadError> {
        let connection = &mut self.connections[index];
        let all_sent = match connection.flush() {
            Ok(all_sent) => all_sent,
            Err(error) => return Err(self.gone(Some(error))),
        };
        if connection.waits_for_room == all_sent {
            connection.waits_for_room = !all_sent;
            let flags =
                if all_sent { epoll::EventFlags::IN } else { epoll::EventFlags::IN | epoll::EventFlags::OUT };
            let place = epoll::EventData::new_u64(index as u64);
            epoll::modify(&self.epoll, &*connection, place, flags).map_err(io::Error::from)?;
        }
        Ok(())
    }

    fn gone(&self, error: Option<io::Error>) -> LoadError {
        let answers = self.tally.answers_of_run();
        let refusals: Vec<_> = self.tally.kinds.iter().filter(|kind| kind.status != 200).collect();
        let refusals = refusals
            .iter()
            .map(|kind| format!(", {} of them {} {}", kind.answers_of_run, kind.status, kind.code));
        LoadError::Gone { answers, refusals: refusals.collect(), error }
    }
}

fn timespec(nanoseconds: u64) -> Timespec {
    const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;
    let part = |nanoseconds: u64| i64::try_from(nanoseconds).unwrap_or(i64::MAX);
    Timespec {
        tv_sec: part(nanoseconds / NANOSECONDS_PER_SECOND),
        tv_nsec: part(nanoseconds % NANOSECONDS_PER_SECOND),
    }
}
