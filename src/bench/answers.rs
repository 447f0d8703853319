//! Answers in HTTP/1.1: where one ends, its status and its body. Nothing else of it is read.

use memchr::{memchr, memmem};
use thiserror::Error;

/// Longest head of an answer, in bytes.
pub const MAX_HEAD_BYTES: usize = 16 << 10;
/// Longest body of an answer, in bytes: twice the longest lease of allotd.
pub const MAX_BODY_BYTES: usize = 32 << 20;

const PROTOCOL: &[u8] = b"HTTP/1.1 ";
const CONTENT_LENGTH: &[u8] = b"content-length:";
const CODE_MEMBER: &[u8] = b"\"code\":\"";

/// An answer that is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// Not an answer of the protocol.
    #[error("it does not answer in the expected protocol")]
    Protocol,
    /// The head does not end.
    #[error("the head of an answer is longer than {MAX_HEAD_BYTES} bytes")]
    LongHead,
    /// The stated length is what separates answers.
    #[error("an answer does not state its length")]
    NoLength,
    /// The body is longer than any body of allotd.
    #[error("an answer says it is longer than {MAX_BODY_BYTES} bytes")]
    LongBody,
    /// The body lacks what the mix needs.
    #[error("a lease in an answer cannot be read: is the server another version of allotd?")]
    Body,
}

/// One whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Status of the first line.
    pub status: u16,
    /// Its body.
    pub body: &'a [u8],
    /// Length of head and body.
    pub bytes: usize,
}

/// Reads answers that come in pieces.
#[derive(Debug, Default)]
pub struct AnswerReader {
    /// Length of the incoming answer, once its head is known, so that a long one is not parsed again with
    /// each piece.
    expected_bytes: usize,
}

impl AnswerReader {
    /// Takes an answer from the start of `bytes`; `None` if more of it has to come. The next call gets
    /// the same bytes and more, or after a whole answer what follows it.
    pub fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Answer<'a>>, AnswerError> {
        if bytes.len() < self.expected_bytes {
            return Ok(None);
        }
        let Some(head) = read_head(bytes)? else { return Ok(None) };
        let end = head.bytes + head.body_bytes;
        if bytes.len() < end {
            self.expected_bytes = end;
            return Ok(None);
        }
        self.expected_bytes = 0;
        Ok(Some(Answer { status: head.status, body: &bytes[head.bytes..end], bytes: end }))
    }
}

struct Head {
    status: u16,
    bytes: usize,
    body_bytes: usize,
}

fn read_head(bytes: &[u8]) -> Result<Option<Head>, AnswerError> {
    let known = bytes.len().min(PROTOCOL.len());
    if bytes[..known] != PROTOCOL[..known] {
        return Err(AnswerError::Protocol);
    }
    let mut body_bytes = None;
    let mut line_start = 0;
    while let Some(length) = memchr(b'\n', &bytes[line_start..]) {
        let line = &bytes[line_start..line_start + length];
        line_start += length + 1;
        if line_start > MAX_HEAD_BYTES {
            return Err(AnswerError::LongHead);
        }
        if line.is_empty() || line == b"\r" {
            let status = bytes.get(PROTOCOL.len()..PROTOCOL.len() + 3).and_then(decimal);
            let status = status.ok_or(AnswerError::Protocol)? as u16;
            let body_bytes = body_bytes.ok_or(AnswerError::NoLength)?;
            return Ok(Some(Head { status, bytes: line_start, body_bytes }));
        }
        if let Some((name, value)) = line.split_at_checked(CONTENT_LENGTH.len())
            && name.eq_ignore_ascii_case(CONTENT_LENGTH)
        {
            body_bytes = Some(length_of(value)?);
        }
    }
    if bytes.len() > MAX_HEAD_BYTES { Err(AnswerError::LongHead) } else { Ok(None) }
}

fn length_of(value: &[u8]) -> Result<usize, AnswerError> {
    let length = decimal(value.trim_ascii()).ok_or(AnswerError::NoLength)?;
    if length <= MAX_BODY_BYTES { Ok(length) } else { Err(AnswerError::LongBody) }
}

/// A number of decimal digits; one that is too large stays as large as it can.
pub(crate) fn decimal(digits: &[u8]) -> Option<usize> {
    let digit = |sum: usize, byte: &u8| {
        let digit = usize::from(byte.wrapping_sub(b'0'));
        (digit < 10).then(|| sum.saturating_mul(10).saturating_add(digit))
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, digit) }
}

/// The code in the body of a refusal; empty if there is none.
pub(crate) fn code(body: &[u8]) -> &[u8] {
    let Some(at) = memmem::find(body, CODE_MEMBER) else { return b"" };
    let rest = &body[at + CODE_MEMBER.len()..];
    &rest[..memchr(b'"', rest).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERS: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}\
        HTTP/1.1 409 Conflict\r\nContent-Length:26\r\n\r\n{\"a\":1,\"code\":\"exhausted\"}\
        HTTP/1.1 503 \r\nCONTENT-LENGTH:  0 \r\n\r\n";
    const STATUSES: [u16; 3] = [200, 409, 503];

    /// Feeds pieces as a connection does: what is not whole yet comes again with more.
    fn read_all(pieces: &[&[u8]]) -> Vec<(u16, Vec<u8>)> {
        let (mut reader, mut waiting, mut found) = (AnswerReader::default(), Vec::new(), Vec::new());
        for piece in pieces {
            waiting.extend_from_slice(piece);
            while let Some(answer) = reader.read(&waiting).unwrap() {
                found.push((answer.status, answer.body.to_vec()));
                let bytes = answer.bytes;
                waiting.drain(..bytes);
            }
        }
        assert_eq!(waiting, b"");
        found
    }

    #[test]
    fn answers_in_a_row_split_anywhere() {
        let whole = read_all(&[ANSWERS]);
        assert_eq!(whole.iter().map(|(status, _)| *status).collect::<Vec<_>>(), STATUSES);
        assert_eq!(code(&whole[1].1), b"exhausted");
        for first in 0..=ANSWERS.len() {
            for second in first..=ANSWERS.len() {
                let pieces = [&ANSWERS[..first], &ANSWERS[first..second], &ANSWERS[second..]];
                assert_eq!(read_all(&pieces), whole, "split at {first} and {second}");
            }
        }
        let bytes: Vec<&[u8]> = ANSWERS.chunks(1).collect();
        assert_eq!(read_all(&bytes), whole);
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let long = [b"HTTP/1.1 200 OK\r\n".as_slice(), &[b'a'; MAX_HEAD_BYTES]].concat();
        for (bytes, error) in [
            (b"SSH-2.0".as_slice(), AnswerError::Protocol),
            (b"HTTP/1.0 200 OK\r\n\r\n", AnswerError::Protocol),
            (b"HTTP/1.1 2x0 OK\r\ncontent-length: 1\r\n\r\n", AnswerError::Protocol),
            (b"HTTP/1.1 \n\n", AnswerError::Protocol),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", AnswerError::NoLength),
            (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", AnswerError::NoLength),
            (b"HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n", AnswerError::NoLength),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n", AnswerError::LongBody),
            (&long, AnswerError::LongHead),
        ] {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
            assert_eq!(AnswerReader::default().read(bytes), Err(error), "{text}");
        }
    }

    #[test]
    fn a_code_that_is_cut_is_none() {
        assert_eq!(code(b"{\"code\":\"exha"), b"");
        assert_eq!(code(b"{}"), b"");
    }
}
