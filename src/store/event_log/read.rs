//! Reading the log: each reader has a place in a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::store::event_batch::{self, BATCH_HEAD_BYTES, RawEvent};

use super::EventLog;
use super::files::{Cursor, Mark};

/// Bytes that a reader takes at once, unless a batch is larger.
const READ_BYTES: usize = 32 << 10;

impl EventLog {
    /// Where the event that a reader wants stands, or shortly before it; `None` if there is none yet.
    fn find(&self, cursor: &Cursor) -> io::Result<Option<(u64, Arc<File>, u64)>> {
        let gone = || Err(io::Error::new(io::ErrorKind::NotFound, "the next event is not kept any more"));
        let inner = self.inner();
        for file in &inner.files {
            let Some((first, end, _)) = file.pools.get(&cursor.pool) else { continue };
            if *end <= cursor.next {
                continue;
            }
            if *first > cursor.next {
                return gone();
            }
            let before = |mark: &&Mark| mark.pool == cursor.pool && mark.seq <= cursor.next;
            let offset = file.marks.iter().rev().find(before).map_or(0, |mark| mark.offset);
            return Ok(Some((file.sequence, Arc::clone(&file.file), offset)));
        }
        // No file has it: it is still to come, unless the log has begun anew or its files were removed.
        if cursor.next < inner.next_of(cursor.pool) { gone() } else { Ok(None) }
    }

    /// Calls `take` with each of the next events and the names of its batch until it returns false, for a part of
    /// what there is. Returns false if there is nothing more.
    pub fn read(
        &self,
        cursor: &mut Cursor,
        take: &mut dyn FnMut(u64, &RawEvent, &[&str]) -> bool,
    ) -> io::Result<bool> {
        if cursor.place.is_none() {
            cursor.place = self.find(cursor)?;
        }
        let Some((sequence, file, offset)) = cursor.place.take() else { return Ok(false) };
        let end = {
            let inner = self.inner();
            let known = inner.files.iter().find(|known| known.sequence == sequence);
            // A file that is removed has its full length.
            known.map_or_else(|| file.metadata().map(|metadata| metadata.len()), |known| Ok(known.bytes))?
        };
        if offset >= end {
            // The next event is in a later file, or does not exist yet.
            cursor.place = self.find(cursor)?.filter(|(found, ..)| *found != sequence);
            return Ok(cursor.place.is_some());
        }
        // Kept for the next time.
        let bytes = &mut cursor.buffer;
        bytes.resize(READ_BYTES.min((end - offset) as usize), 0);
        file.read_exact_at(bytes, offset)?;
        let length = event_batch::length(bytes).unwrap_or(BATCH_HEAD_BYTES);
        if length > bytes.len() {
            bytes.resize(length.min((end - offset) as usize), 0);
            file.read_exact_at(bytes, offset)?;
        }
        let mut at = 0;
        let mut goes_on = true;
        while goes_on && let Some((head, sections)) = event_batch::decode(&bytes[at..]) {
            for section in sections.filter(|section| section.pool == cursor.pool) {
                let names = section.names();
                for (seq, event) in (section.first_seq..).zip(section.events()) {
                    if goes_on && seq == cursor.next {
                        cursor.next += 1;
                        goes_on = take(seq, &event, &names);
                    }
                }
            }
            at += head.length as usize;
        }
        if at == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a batch of events is damaged"));
        }
        cursor.place = Some((sequence, file, offset + at as u64));
        Ok(goes_on)
    }
}
