//! allotd's callers: what each mix sends on a connection.

use std::collections::VecDeque;
use std::sync::Arc;

use super::answers::{Answer, AnswerError, AnswerReader, code};
use super::items::{LeaseText, count, count_leases, each_lease, put_item};
use super::protocol::{Protocol, Received};

/// A call that the load makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `POST /v1/pools/{pool}/lease`
    Lease,
    /// `POST /v1/pools/{pool}/renew`
    Renew,
    /// `POST /v1/pools/{pool}/return`
    Return,
    /// `GET /v1/pools/{pool}/numbers/{number}`
    Lookup,
}

impl Call {
    /// The call's name, as the daemon's stats have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Renew => "renew",
            Self::Return => "return",
            Self::Lookup => "lookup",
        }
    }

    /// How many numbers it succeeded for, by its answer. The body of an answer about one number is not
    /// read.
    fn numbers(self, answer: &Answer<'_>, asked: u32) -> u64 {
        match self {
            _ if answer.status != 200 => 0,
            Self::Lookup => 1,
            _ if asked == 1 => 1,
            Self::Lease => count_leases(answer.body),
            Self::Renew => count(answer.body, b"\"result\":\"renewed\""),
            Self::Return => count(answer.body, b"\"result\":\"returned\""),
        }
    }

    fn heard<'a>(self, answer: &Answer<'a>, numbers: u64) -> Received<'a> {
        let code = if answer.status < 400 { b"" } else { code(answer.body) };
        Received { bytes: answer.bytes, call: self.as_str(), numbers, status: answer.status, code }
    }
}

/// One connection's caller.
#[derive(Debug)]
pub struct Caller {
    answers: AnswerReader,
    saying: Saying,
}

#[derive(Debug)]
enum Saying {
    /// The same requests repeatedly.
    Rotation { requests: Arc<[Vec<u8>]>, next: usize, call: Call, numbers_asked: u32 },
    /// What was leased is returned, then other numbers are leased.
    LeaseReturn {
        lease: Vec<u8>,
        returning: Returning,
        /// Returns to be made.
        returns: VecDeque<Vec<u8>>,
        /// Buffers of returns that were made.
        spare: Vec<Vec<u8>>,
        /// The calls under way, oldest first.
        asked: VecDeque<Call>,
    },
}

/// How what was leased is returned.
#[derive(Debug)]
enum Returning {
    /// All of an answer together, by a request that begins so.
    Together(Vec<u8>),
    /// Each alone without a body, by this path and its number.
    Alone(Vec<u8>),
}

impl Caller {
    /// Sends `requests` in turn, all of one call about `numbers_asked` numbers. `place` decides which is the
    /// first, so that connections do not send the same at once.
    pub fn rotating(requests: Arc<[Vec<u8>]>, place: usize, call: Call, numbers_asked: u32) -> Self {
        const STEP: usize = 61;
        let next = place * STEP % requests.len().max(1);
        let saying = Saying::Rotation { requests, next, call, numbers_asked };
        Self { answers: AnswerReader::default(), saying }
    }

    /// Leases by this request and returns all it gets, by requests that begin with `return_head`.
    pub fn leasing_and_returning(lease: &[u8], return_head: &[u8]) -> Self {
        Self::returning(lease, Returning::Together(return_head.to_vec()))
    }

    /// Leases by this request and returns each number it gets by a call of its own, without a body. `path` is that of the
    /// pool's numbers.
    pub fn leasing_and_returning_alone(lease: &[u8], path: &[u8]) -> Self {
        Self::returning(lease, Returning::Alone(path.to_vec()))
    }

    fn returning(lease: &[u8], returning: Returning) -> Self {
        let saying = Saying::LeaseReturn {
            lease: lease.to_vec(),
            returning,
            returns: VecDeque::new(),
            spare: Vec::new(),
            asked: VecDeque::new(),
        };
        Self { answers: AnswerReader::default(), saying }
    }
}

impl Protocol for Caller {
    fn ask(&mut self, out: &mut Vec<u8>) {
        if self.ask_last(out) {
            return;
        }
        match &mut self.saying {
            Saying::Rotation { requests, next, .. } => {
                out.extend_from_slice(&requests[*next]);
                *next = if *next + 1 == requests.len() { 0 } else { *next + 1 };
            }
            Saying::LeaseReturn { lease, asked, .. } => {
                out.extend_from_slice(lease);
                asked.push_back(Call::Lease);
            }
        }
    }

    fn ask_last(&mut self, out: &mut Vec<u8>) -> bool {
        let Saying::LeaseReturn { returns, spare, asked, .. } = &mut self.saying else { return false };
        let Some(request) = returns.pop_front() else { return false };
        out.extend_from_slice(&request);
        spare.push(request);
        asked.push_back(Call::Return);
        true
    }

    fn hear<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Received<'a>>, AnswerError> {
        let Some(answer) = self.answers.read(bytes)? else { return Ok(None) };
        match &mut self.saying {
            Saying::Rotation { call, numbers_asked, .. } => {
                Ok(Some(call.heard(&answer, call.numbers(&answer, *numbers_asked))))
            }
            Saying::LeaseReturn { returning, returns, spare, asked, .. } => {
                let call = asked.pop_front().ok_or(AnswerError::Protocol)?;
                let numbers = match call {
                    Call::Lease if answer.status == 200 => {
                        let mut buffer = || spare.pop().unwrap_or_default();
                        match returning {
                            Returning::Together(head) => {
                                let mut request = buffer();
                                let leases = return_leases(&mut request, head, answer.body)?;
                                returns.push_back(request);
                                leases
                            }
                            Returning::Alone(path) => each_lease(answer.body, |lease| {
                                let mut request = buffer();
                                return_one(&mut request, path, lease);
                                returns.push_back(request);
                            })?,
                        }
                    }
                    Call::Return if answer.status == 200 => count(answer.body, b"\"result\":\"returned\""),
                    _ => 0,
                };
                Ok(Some(call.heard(&answer, numbers)))
            }
        }
    }
}

/// Builds the return of one lease, without a body.
fn return_one(request: &mut Vec<u8>, path: &[u8], lease: LeaseText<'_>) {
    request.clear();
    request.extend_from_slice(b"POST ");
    request.extend_from_slice(path);
    request.push(b'/');
    request.extend_from_slice(lease.number);
    request.extend_from_slice(b"/return HTTP/1.1\r\nHost: localhost\r\nLease-Token: ");
    request.extend_from_slice(lease.token);
    request.extend_from_slice(b"\r\n\r\n");
}

/// Builds the return of all leases in an answer; returns how many there are.
fn return_leases(request: &mut Vec<u8>, head: &[u8], answer: &[u8]) -> Result<u64, AnswerError> {
    const LENGTH_DIGITS: usize = 8;
    request.clear();
    request.extend_from_slice(head);
    let length_at = request.len();
    request.extend_from_slice(&[b'0'; LENGTH_DIGITS]);
    request.extend_from_slice(b"\r\n\r\n");
    let body_at = request.len();
    request.extend_from_slice(b"{\"leases\":[");
    let mut separator: &[u8] = b"";
    let leases = each_lease(answer, |lease| {
        request.extend_from_slice(separator);
        separator = b",";
        put_item(request, lease);
    })?;
    request.extend_from_slice(b"]}");
    let mut length = request.len() - body_at;
    // Leading zeros are fine: the length is known only now, and its place is before the body.
    for digit in request[length_at..length_at + LENGTH_DIGITS].iter_mut().rev() {
        *digit = b'0' + (length % 10) as u8;
        length /= 10;
    }
    Ok(leases)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASED: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-length: 62\r\n\r\n{\"leases\":[{\"number\":7,\"token\":\"abc\",\"generation\":1,\"x\":\"y\"}]}";
    const RETURNED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n\"result\":\"returned\"}]}";
    const EXHAUSTED: &[u8] = b"HTTP/1.1 409 Conflict\r\ncontent-length: 20\r\n\r\n{\"code\":\"exhausted\"}";

    fn asked(caller: &mut Caller) -> String {
        let mut out = Vec::new();
        caller.ask(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_is_returned_alone() {
        const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 58\r\n\r\n{\"leases\":[{\"number\":7,\"token\":\"AA\"},{\"number\":8,\"token\":\"B\"}]}";
        let mut caller = Caller::leasing_and_returning_alone(b"LEASE", b"/v1/pools/p/numbers");
        let mut out = Vec::new();
        caller.ask(&mut out);
        let length = ANSWER.len() - ANSWER.windows(4).position(|four| four == b"\r\n\r\n").unwrap() - 4;
        let answer = String::from_utf8_lossy(ANSWER).replace("58", &length.to_string());
        assert_eq!(caller.hear(answer.as_bytes()).unwrap().unwrap().numbers, 2);
        let first =
            "POST /v1/pools/p/numbers/7/return HTTP/1.1\r\nHost: localhost\r\nLease-Token: AA\r\n\r\n";
        let second =
            "POST /v1/pools/p/numbers/8/return HTTP/1.1\r\nHost: localhost\r\nLease-Token: B\r\n\r\n";
        for expected in [first, second, "LEASE"] {
            out.clear();
            caller.ask(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn what_was_leased_is_returned() {
        let mut caller = Caller::leasing_and_returning(b"LEASE", b"RETURN content-length: ");
        assert_eq!((asked(&mut caller), asked(&mut caller)), ("LEASE".to_owned(), "LEASE".to_owned()));
        let heard = caller.hear(LEASED).unwrap().unwrap();
        assert_eq!((heard.call, heard.numbers, heard.status), ("lease", 1, 200));
        assert_eq!(
            asked(&mut caller),
            "RETURN content-length: 00000039\r\n\r\n{\"leases\":[{\"number\":7,\"token\":\"abc\"}]}"
        );
        let heard = caller.hear(EXHAUSTED).unwrap().unwrap();
        assert_eq!((heard.call, heard.numbers, heard.code), ("lease", 0, b"exhausted".as_slice()));
        let heard = caller.hear(RETURNED).unwrap().unwrap();
        assert_eq!((heard.call, heard.numbers), ("return", 1));
        assert!(!caller.ask_last(&mut Vec::new()), "nothing is owed");
        assert_eq!(asked(&mut caller), "LEASE");
        caller.hear(LEASED).unwrap();
        assert!(caller.ask_last(&mut Vec::new()), "a lease is held");
        assert_eq!(caller.hear(LEASED[..20].as_ref()), Ok(None));
    }

    #[test]
    fn an_answer_to_nothing_is_told() {
        let mut caller = Caller::leasing_and_returning(b"LEASE", b"RETURN ");
        assert_eq!(caller.hear(LEASED), Err(AnswerError::Protocol));
    }

    #[test]
    fn requests_rotate() {
        let requests: Arc<[Vec<u8>]> = Arc::from([b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
        let mut caller = Caller::rotating(requests, 2, Call::Renew, 2);
        let said: String = (0..4).map(|_| asked(&mut caller)).collect();
        assert_eq!(said, "cabc");
        assert_eq!(caller.hear(EXHAUSTED).unwrap().unwrap().numbers, 0);
    }
}
