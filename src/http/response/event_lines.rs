//! Events as lines of JSON, or as events for a browser.

use std::io::Write as _;

use bytes::{BufMut, BytesMut};

use crate::engine::events::reader::Event;
use crate::state::time::Timestamp;

use super::json;

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Lines,
    Stream,
}

/// The text of a time: many events in a row have the same.
#[derive(Default)]
struct TimeText {
    of: Option<Timestamp>,
    text: Vec<u8>,
}

impl TimeText {
    fn of(&mut self, time: Timestamp) -> &[u8] {
        if self.of != Some(time) {
            self.text.clear();
            // Writing to memory does not fail.
            let _ = write!(self.text, "{time}");
            self.of = Some(time);
        }
        &self.text
    }
}

/// Writes events.
pub(crate) struct EventLines {
    format: Format,
    at: TimeText,
    until: TimeText,
}

fn put_integer(part: &mut BytesMut, value: u64) {
    part.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn put_text(part: &mut BytesMut, text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        part.put_u8(b'"');
        part.put_slice(text.as_bytes());
        part.put_u8(b'"');
    } else {
        part.put_slice(json::quoted(text).as_bytes());
    }
}

impl EventLines {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, at: TimeText::default(), until: TimeText::default() }
    }

    /// Writes an event.
    pub(crate) fn put(&mut self, part: &mut BytesMut, event: &Event<'_>) {
        let is_stream = self.format == Format::Stream;
        if is_stream {
            part.put_slice(b"id: ");
            put_integer(part, event.seq);
            part.put_slice(b"\nevent: ");
            part.put_slice(event.name.as_bytes());
            part.put_slice(b"\ndata: ");
        }
        part.put_slice(b"{\"seq\":");
        put_integer(part, event.seq);
        part.put_slice(b",\"at\":\"");
        part.put_slice(self.at.of(event.at));
        part.put_u8(b'"');
        if let Some(number) = event.number {
            part.put_slice(b",\"number\":");
            put_integer(part, number);
        }
        part.put_slice(b",\"event\":\"");
        part.put_slice(event.name.as_bytes());
        part.put_u8(b'"');
        self.put_state(part, event);
        if let Some(round) = event.round {
            part.put_slice(b",\"round\":");
            put_integer(part, round.into());
        }
        if let Some(holder) = event.holder {
            part.put_slice(b",\"holder\":");
            put_text(part, holder);
        }
        part.put_slice(if is_stream { b"}\n\n" } else { b"}\n" });
    }

    fn put_state(&mut self, part: &mut BytesMut, event: &Event<'_>) {
        let Some(word) = event.word else { return };
        part.put_slice(b",\"generation\":");
        put_integer(part, word.generation.into());
        if let Some(outcome) = event.outcome {
            part.put_slice(b",\"outcome\":");
            put_text(part, outcome);
        }
        part.put_slice(b",\"state\":\"");
        part.put_slice(word.state.as_str().as_bytes());
        part.put_u8(b'"');
        if let Some(until) = word.until {
            part.put_slice(b",\"until\":\"");
            part.put_slice(self.until.of(until));
            part.put_u8(b'"');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::events::reader::OfWord;
    use crate::state::number_state::State;

    #[test]
    fn lines_are_json_whatever_names_there_are() {
        let names = ["c-17", "", "say \"no\"", "back\\slash", "Анна", "tab\there", "\u{7f}"];
        let mut lines = EventLines::new(Format::Lines);
        let mut part = BytesMut::new();
        for (seq, name) in (1..).zip(names) {
            let at = Timestamp::new(1_000 + seq as u32 / 3);
            let word = OfWord { generation: 3, state: State::Resting, until: Some(at.after(60)) };
            let (outcome, holder) = (Some(name), Some(name));
            let (word, name) = (Some(word), "returned");
            lines.put(
                &mut part,
                &Event { seq, at, name, number: Some(7), word, round: None, outcome, holder },
            );
        }
        for ((seq, name), line) in (1_u64..).zip(names).zip(part[..].split(|byte| *byte == b'\n')) {
            let at = Timestamp::new(1_000 + seq as u32 / 3);
            let expected = serde_json::json!({
                "seq": seq, "at": at.to_string(), "number": 7, "event": "returned", "generation": 3,
                "outcome": name, "state": "resting", "until": at.after(60).to_string(), "holder": name,
            });
            assert_eq!(serde_json::from_slice::<serde_json::Value>(line).unwrap(), expected);
        }
    }
}
