//! One connection of a load: a socket, its buffers, and the requests in flight.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::answers::AnswerError;
use super::protocol::{Protocol, Received};
use super::transport::Transport;

pub use super::transport::connect;

/// A connected socket that does not block.
pub(super) struct Connection<T> {
    socket: Transport,
    talk: T,
    out: Vec<u8>,
    /// How much of `out` was sent.
    sent_bytes: usize,
    /// The beginning of an answer of which more has to come.
    begun: Vec<u8>,
    /// The times of the requests under way, oldest first, in nanoseconds since the start of the run.
    asked: VecDeque<u64>,
    /// Whether epoll reports when the socket has space to send.
    pub(super) waits_for_room: bool,
}

impl<T: Protocol> Connection<T> {
    pub(super) fn new(socket: Transport, talk: T) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            talk,
            out: Vec::new(),
            sent_bytes: 0,
            begun: Vec::new(),
            asked: VecDeque::new(),
            waits_for_room: false,
        })
    }

    /// Requests under way, those included that are still to be sent.
    pub(super) fn under_way(&self) -> &VecDeque<u64> {
        &self.asked
    }

    /// Puts a request of the time `at` into the buffer.
    pub(super) fn ask(&mut self, at: u64) {
        self.talk.ask(&mut self.out);
        self.asked.push_back(at);
    }

    /// Puts a request that is owed at the end into the buffer, if there is one.
    pub(super) fn ask_last(&mut self, at: u64) -> bool {
        let owed = self.talk.ask_last(&mut self.out);
        if owed {
            self.asked.push_back(at);
        }
        owed
    }

    /// Sends what is in the buffer; returns whether all of it is sent.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while self.sent_bytes < self.out.len() {
            match self.socket.write(&self.out[self.sent_bytes..]) {
                Ok(sent) => self.sent_bytes += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.sent_bytes = 0;
        match self.socket.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Reads once; `None` if nothing has come. 0 bytes are the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.socket.read(buffer) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_for_later(error.kind()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Calls `on_answer` with the request's time and each answer that these bytes complete; returns how many
    /// there were.
    pub(super) fn hear(
        &mut self,
        bytes: &[u8],
        mut on_answer: impl FnMut(u64, &Received<'_>),
    ) -> Result<usize, AnswerError> {
        let mut answers = 0;
        let mut taken = 0;
        let from_begun = !self.begun.is_empty();
        if from_begun {
            self.begun.extend_from_slice(bytes);
        }
        let all = if from_begun { &self.begun } else { bytes };
        while taken < all.len() {
            let Some(heard) = self.talk.hear(&all[taken..])? else { break };
            taken += heard.bytes;
            answers += 1;
            on_answer(self.asked.pop_front().ok_or(AnswerError::Protocol)?, &heard);
        }
        if from_begun {
            self.begun.drain(..taken);
        } else {
            self.begun.extend_from_slice(&bytes[taken..]);
        }
        Ok(answers)
    }
}

fn is_for_later(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl<T> AsFd for Connection<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
