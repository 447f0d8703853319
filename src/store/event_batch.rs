//! The bytes of a batch of events; pure.
//!
//! ```text
//!  0  magic "ALEV"             4    4  CRC32C of what follows    u32
//!  8  length of the batch    u32   12  1 if closed cleanly        u8, then 3 zeros
//! 16  frames of the journal up to this one are in the log         u64
//! 24  id of the system's boot   16
//! 40  sections, one a pool
//! ```
//!
//! A section is the pool's id (u64), the sequence number of its first event (u64), how many events (u32), bytes of
//! names (u32), the names, each behind its length (u8), and the events:
//!
//! ```text
//!  0  number       u64    8  word after it, or the round   u64   16  second since 2020   u32
//! 20  kind          u8   21  name of the outcome            u8   22  name of the holder  u16
//! ```
//!
//! A section of the pool 2^64 - 1 is of no pool: no position below its sequence number is given out any more.
//!
//! A name is its place in the section, from 1; 0 for none. Kinds 1 to 7 are those of the journal's causes, 8 is a
//! round, 9 an addition; of 10 (blocked) and 11 (not blocked any more) the word is a sequence. All little-endian.

/// Bytes of a batch before its sections.
pub(super) const BATCH_HEAD_BYTES: usize = 40;
const MAGIC: [u8; 4] = *b"ALEV";
const SECTION_HEAD_BYTES: usize = 24;
/// The pool of a section that says which positions are given out to none any more.
pub(super) const NO_POOL: u64 = u64::MAX;
/// Bytes of an event.
pub(super) const EVENT_BYTES: usize = 24;
/// The kind of a round's opening.
pub const ROUND_KIND: u8 = 8;
/// The kind of a number's addition to the pool.
pub const ADDED_KIND: u8 = 9;
/// The kind of a list beginning to block a number,
pub const BLOCKED_KIND: u8 = 10;
/// and of none blocking it any more.
pub const UNBLOCKED_KIND: u8 = 11;
/// What tells the keys of [`order_key`] apart from numbers.
const LISTS_KEY: u64 = 1 << 63;
const ROUNDS_KEY: u64 = 1 << 62;

/// What orders the events of a pool among each other: of one key, those with a smaller word come first.
pub fn order_key(number: u64, kind: u8) -> u64 {
    match kind {
        ROUND_KIND => ROUNDS_KEY,
        BLOCKED_KIND | UNBLOCKED_KIND => number | LISTS_KEY,
        _ => number,
    }
}

/// Whether a key is of what lists do to a number.
pub fn is_of_lists(key: u64) -> bool {
    key & LISTS_KEY != 0
}

/// An event as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawEvent {
    /// The number; 0 if it is one of the pool.
    pub number: u64,
    /// The word after the change, the round, or the place of a change of lists.
    pub word: u64,
    /// When it happened.
    pub at_seconds: u32,
    /// What happened.
    pub kind: u8,
    /// The outcome's name: its place among the names, from 1; 0 for none.
    pub outcome: u8,
    /// The holder's name likewise.
    pub holder: u16,
}

/// The head of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHead {
    pub(super) length: u32,
    pub(super) is_clean: bool,
    pub(super) covered: u64,
    pub(super) boot_id: [u8; 16],
}

/// The events of one pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) pool: u64,
    pub(super) first_seq: u64,
    names: &'a [u8],
    events: &'a [u8],
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

impl<'a> Section<'a> {
    /// The names of its outcomes and holders.
    pub(super) fn names(&self) -> Vec<&'a str> {
        let (mut names, mut rest) = (Vec::new(), self.names);
        while let Some((length, after)) = rest.split_first() {
            let Some((name, after)) = after.split_at_checked(usize::from(*length)) else { break };
            names.push(std::str::from_utf8(name).unwrap_or_default());
            rest = after;
        }
        names
    }

    /// When its first event happened, and its last.
    pub(super) fn times(&self) -> (Option<u32>, u32) {
        let at = |event: &[u8]| u32_at(event, 16);
        let mut events = self.events.chunks_exact(EVENT_BYTES);
        let first = events.next().map(at);
        (first, events.next_back().map(at).or(first).unwrap_or(0))
    }

    /// Its events.
    pub(super) fn events(&self) -> impl ExactSizeIterator<Item = RawEvent> + use<'a> {
        self.events.chunks_exact(EVENT_BYTES).map(|bytes| RawEvent {
            number: u64_at(bytes, 0),
            word: u64_at(bytes, 8),
            at_seconds: u32_at(bytes, 16),
            kind: bytes[20],
            outcome: bytes[21],
            holder: u16::from_le_bytes([bytes[22], bytes[23]]),
        })
    }
}

/// Begins a batch in a buffer.
pub(super) fn begin(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(BATCH_HEAD_BYTES, 0);
}

/// Adds a pool's events. A name has at most 255 bytes.
pub(super) fn put(buffer: &mut Vec<u8>, pool: u64, first_seq: u64, names: &[String], events: &[RawEvent]) {
    let name_bytes: usize = names.iter().map(|name| 1 + name.len()).sum();
    buffer.extend_from_slice(&pool.to_le_bytes());
    buffer.extend_from_slice(&first_seq.to_le_bytes());
    buffer.extend_from_slice(&(events.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&(name_bytes as u32).to_le_bytes());
    for name in names {
        buffer.push(name.len() as u8);
        buffer.extend_from_slice(name.as_bytes());
    }
    for event in events {
        buffer.extend_from_slice(&event.number.to_le_bytes());
        buffer.extend_from_slice(&event.word.to_le_bytes());
        buffer.extend_from_slice(&event.at_seconds.to_le_bytes());
        buffer.extend_from_slice(&[event.kind, event.outcome]);
        buffer.extend_from_slice(&event.holder.to_le_bytes());
    }
}

/// Completes a batch.
pub(super) fn seal(buffer: &mut [u8], head: BatchHead) {
    let length = buffer.len() as u32;
    buffer[..4].copy_from_slice(&MAGIC);
    buffer[8..12].copy_from_slice(&length.to_le_bytes());
    buffer[12] = u8::from(head.is_clean);
    buffer[16..24].copy_from_slice(&head.covered.to_le_bytes());
    buffer[24..40].copy_from_slice(&head.boot_id);
    let checksum = crc32c::crc32c(&buffer[8..]);
    buffer[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// The length of the batch at the beginning of `bytes`, as its head says.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    (bytes.len() >= BATCH_HEAD_BYTES).then(|| u32_at(bytes, 8) as usize)
}

/// The batch at the beginning of `bytes`; `None` if no whole one is there.
pub(super) fn decode(bytes: &[u8]) -> Option<(BatchHead, impl Iterator<Item = Section<'_>>)> {
    let bytes = bytes.get(..length(bytes)?)?;
    if bytes.len() < BATCH_HEAD_BYTES
        || bytes[..4] != MAGIC
        || crc32c::crc32c(&bytes[8..]) != u32_at(bytes, 4)
    {
        return None;
    }
    let head = BatchHead {
        length: bytes.len() as u32,
        is_clean: bytes[12] != 0,
        covered: u64_at(bytes, 16),
        boot_id: std::array::from_fn(|i| bytes[24 + i]),
    };
    Some((head, sections(bytes)))
}

/// The sections of a batch that is whole.
pub(super) fn sections(batch: &[u8]) -> impl Iterator<Item = Section<'_>> {
    let mut rest = batch.get(BATCH_HEAD_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (section, after) = rest.split_at_checked(SECTION_HEAD_BYTES)?;
        let (names, after) = after.split_at_checked(u32_at(section, 20) as usize)?;
        let (events, after) = after.split_at_checked(u32_at(section, 16) as usize * EVENT_BYTES)?;
        rest = after;
        Some(Section { pool: u64_at(section, 0), first_seq: u64_at(section, 8), names, events })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_reads_back_and_every_flipped_bit_is_seen() {
        let event = |number| RawEvent { number, word: 7, at_seconds: 9, kind: 3, outcome: 1, holder: 2 };
        let names = ["no_answer".to_owned(), "anna".to_owned()];
        let mut bytes = Vec::new();
        begin(&mut bytes);
        put(&mut bytes, 5, 80, &names, &[event(1), event(2)]);
        put(&mut bytes, 6, 3, &[], &[]);
        let head = BatchHead { length: bytes.len() as u32, is_clean: true, covered: 41, boot_id: [3; 16] };
        seal(&mut bytes, head);
        let (found, sections) = decode(&bytes).unwrap();
        assert_eq!(found, head);
        let sections: Vec<_> = sections.collect();
        assert_eq!(
            (sections[0].pool, sections[0].first_seq, sections[0].names()),
            (5, 80, vec!["no_answer", "anna"])
        );
        assert_eq!(sections[0].events().collect::<Vec<_>>(), [event(1), event(2)]);
        assert_eq!((sections.len(), sections[1].pool, sections[1].events().len()), (2, 6, 0));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_none(), "bit {bit}");
        }
        assert!((0..bytes.len()).all(|cut| decode(&bytes[..cut]).is_none()));
    }
}
