//! The protocol of a load: what is sent and received on one connection.

use super::answers::AnswerError;

/// The client's side of a protocol in which answers come in the order of the requests.
pub trait Protocol {
    /// Appends the next request.
    fn ask(&mut self, out: &mut Vec<u8>);

    /// Appends a request that is owed when time is over, such as the return of what was leased; false if
    /// there is none.
    fn ask_last(&mut self, _out: &mut Vec<u8>) -> bool {
        false
    }

    /// Reads the answer to the oldest request in flight from the start of `bytes`; `None` if more of it
    /// has to come.
    fn hear<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Received<'a>>, AnswerError>;
}

impl<T: Protocol + ?Sized> Protocol for Box<T> {
    fn ask(&mut self, out: &mut Vec<u8>) {
        (**self).ask(out);
    }

    fn ask_last(&mut self, out: &mut Vec<u8>) -> bool {
        (**self).ask_last(out)
    }

    fn hear<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Received<'a>>, AnswerError> {
        (**self).hear(bytes)
    }
}

/// One answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// Its length.
    pub bytes: usize,
    /// What was asked.
    pub call: &'static str,
    /// For how many numbers it succeeded.
    pub numbers: u64,
    /// The HTTP status, or what stands for it in other protocols; 200 is success.
    pub status: u16,
    /// The code of a refusal; empty if it has none.
    pub code: &'a [u8],
}
