//! Reads the journal back.
//!
//! The caller gets the records file by file and frame by frame; their order does not matter to words. A frame
//! at the end of the newest file that is not whole is a torn end: it was never confirmed, and is cut.
//! Anything else that differs from what was written is damage, and nothing is recovered past it unless the
//! caller allows it. [`super::frame`] documents how the two are distinguished.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rustix::fs::Advice;

use super::on_damage::OnDamage;
use crate::disk::mapping::{MappedBytes, PAGE_BYTES};

use super::file;
use super::frame::{Frame, FrameHead, HEAD_BYTES, Head, HeadError, MAX_FRAME_BYTES, SECTOR_BYTES, Sector};
use super::record::Record;

/// Bytes that the system is asked to read at once: it ignores what is beyond its own limit.
const READ_AHEAD_BYTES: u64 = 128 << 10;

/// Why the journal could not be read back. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A file cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// A file of another version.
    #[error("{0} has format {1}: use the version of allotd that wrote it")]
    OtherFormat(PathBuf, u32),
    /// Something differs from what was written.
    #[error(
        "{0}; `allotd check` reports all damage, a backup can be restored, and `allotd serve \
         --recover-damaged` starts with what is readable and reports what it gives up"
    )]
    Damaged(Damage),
}

/// A place where the journal differs from what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is damaged at byte {}: {}", self.path.display(), self.offset, self.what)
    }
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The sequences of all files, oldest first.
    pub files: Vec<u64>,
    /// Whole frames.
    pub frames: u64,
    /// Their records.
    pub records: u64,
    /// Written bytes of torn frames, which were never confirmed.
    pub cut_bytes: u64,
    /// The sequence for the next frame.
    pub next_frame: u64,
    /// Head of the newest frame, and the boot during which it was written.
    pub last: Option<(FrameHead, [u8; 16])>,
    /// Whether the newest file was closed cleanly: the tables hold everything.
    pub clean: bool,
    /// What is damaged. Always empty with [`OnDamage::Refuse`].
    pub damage: Vec<Damage>,
}

/// A file whose head was read.
struct Opened {
    path: PathBuf,
    bytes: MappedBytes,
    head: Head,
}

/// A journal whose files are open and verified.
pub struct Journaled {
    recovered: Recovered,
    files: Vec<Opened>,
    /// Every whole frame: its file among `files`, and where in it.
    frames: Vec<(usize, usize)>,
}

impl Journaled {
    /// What was found.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// What was found. Closes the files.
    pub fn into_recovered(self) -> Recovered {
        self.recovered
    }

    /// Every whole frame, in order.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        self.frames_of(0..self.frames.len())
    }

    fn frames_of(&self, range: Range<usize>) -> impl Iterator<Item = Frame<'_>> {
        self.frames[range].iter().map(|(file, offset)| {
            let file = &self.files[*file];
            Frame::verified(&file.bytes[*offset..], file.head.file_sequence)
        })
    }

    /// The frames in parts of about `records` records, in order.
    pub fn parts(&self, records: u64) -> Vec<impl Iterator<Item = Frame<'_>>> {
        let (mut parts, mut start, mut in_part) = (Vec::new(), 0, 0);
        for (index, frame) in self.frames().enumerate() {
            in_part += u64::from(frame.head.records);
            if in_part >= records {
                parts.push(start..index + 1);
                (start, in_part) = (index + 1, 0);
            }
        }
        parts.push(start..self.frames.len());
        parts.into_iter().map(|range| self.frames_of(range)).collect()
    }
}

/// Reads all files of a journal directory and calls `apply` with every record.
pub fn read(
    dir: &Path,
    on_damage: OnDamage,
    apply: &mut dyn FnMut(&FrameHead, &Record),
) -> Result<Recovered, RecoveryError> {
    let journaled = scan(dir, on_damage)?;
    for frame in journaled.frames() {
        frame.records().for_each(|record| apply(&frame.head, &record));
    }
    Ok(journaled.into_recovered())
}

/// Asks the system to read the files of a journal into memory, and does not wait for it: they were written past
/// the page cache, and [`scan`] reads all of them to be sure that nothing follows a torn end.
pub fn read_ahead(dir: &Path) {
    // Only a speed-up: `scan` reports what is wrong.
    for (_, path) in file::list(dir).unwrap_or_default() {
        let Ok(file) = File::open(path) else { continue };
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        for at in (0..bytes).step_by(READ_AHEAD_BYTES as usize) {
            let _ = rustix::fs::fadvise(&file, at, NonZeroU64::new(READ_AHEAD_BYTES), Advice::WillNeed);
        }
    }
}

/// Opens all files of a journal directory and verifies every frame.
pub fn scan(dir: &Path, on_damage: OnDamage) -> Result<Journaled, RecoveryError> {
    let mut recovered = Recovered::default();
    let mut files = Vec::new();
    let mut frames = Vec::new();
    let listed = file::list(dir).map_err(|error| RecoveryError::Io(dir.to_owned(), error))?;
    for (sequence, path) in listed {
        recovered.files.push(sequence);
        match open(sequence, path)? {
            Ok(file) => files.push(file),
            Err(damage) => found(&mut recovered, on_damage, damage)?,
        }
    }
    for pair in files.windows(2) {
        if pair[1].head.file_sequence != pair[0].head.file_sequence + 1 {
            let what = format!("file {} is missing before it", pair[1].head.file_sequence - 1);
            found(&mut recovered, on_damage, Damage { path: pair[1].path.clone(), offset: 0, what })?;
        }
    }
    for (index, file) in files.iter().enumerate() {
        let end = files.get(index + 1).map(|next| next.head.first_frame);
        let mut whole = |offset| frames.push((index, offset));
        scan_file(file, end, on_damage, &mut recovered, &mut whole)?;
    }
    // Whatever the newest file says cannot be read if its head is damaged.
    let newest = files.last().map(|file| file.head.file_sequence);
    recovered.clean &= newest == recovered.files.last().copied();
    Ok(Journaled { recovered, files, frames })
}

fn found(recovered: &mut Recovered, on_damage: OnDamage, damage: Damage) -> Result<(), RecoveryError> {
    if on_damage == OnDamage::Refuse {
        return Err(RecoveryError::Damaged(damage));
    }
    recovered.damage.push(damage);
    Ok(())
}

fn open(sequence: u64, path: PathBuf) -> Result<Result<Opened, Damage>, RecoveryError> {
    let bytes = match MappedBytes::open(&path) {
        Ok(bytes) => bytes,
        Err(error) => return Err(RecoveryError::Io(path, error)),
    };
    let damage = |path, what: String| Ok(Err(Damage { path, offset: 0, what }));
    match Head::decode(&bytes) {
        Ok(head) if head.file_sequence == sequence => Ok(Ok(Opened { path, bytes, head })),
        Ok(head) => damage(path, format!("its head is that of file {}", head.file_sequence)),
        Err(HeadError::OtherFormat(format)) => Err(RecoveryError::OtherFormat(path, format)),
        Err(error) => damage(path, error.to_string()),
    }
}

/// Finds the frames of a file. `end` is the sequence of the next file's first frame.
fn scan_file(
    file: &Opened,
    end: Option<u64>,
    on_damage: OnDamage,
    recovered: &mut Recovered,
    whole: &mut dyn FnMut(usize),
) -> Result<(), RecoveryError> {
    let damage =
        |offset: usize, what: String| Damage { path: file.path.clone(), offset: offset as u64, what };
    let mut offset = HEAD_BYTES;
    let mut expected = file.head.first_frame;
    // A file that was closed cleanly says nothing about those after it.
    recovered.clean = false;
    if recovered.next_frame != 0 && recovered.next_frame != expected {
        let what = format!("it begins with frame {expected}, {} was expected", recovered.next_frame);
        found(recovered, on_damage, damage(0, what))?;
    }
    while Some(expected) != end {
        if let Some(frame) = frame_of(file, offset).filter(|frame| frame.head.sequence >= expected) {
            if frame.head.sequence > expected {
                let what = format!("frames {expected} to {} are missing", frame.head.sequence - 1);
                found(recovered, on_damage, damage(offset, what))?;
            }
            recovered.frames += 1;
            recovered.records += u64::from(frame.head.records);
            recovered.clean = frame.head.clean;
            recovered.last = Some((frame.head, file.head.boot_id));
            whole(offset);
            expected = frame.head.sequence + 1;
            offset += frame.bytes();
            continue;
        }
        if recovered.clean && end.is_none() {
            // After a clean close nothing more is written.
            break;
        }
        let torn = torn_frame(file, offset, expected);
        let later = next_frame(file, offset, expected);
        let was_durable = end.is_some() || later.is_some_and(|(_, later)| later.durable_below > expected);
        if let Some(at) = torn.damaged_at {
            let what = format!("a sector of frame {expected} has changed since it was written");
            found(recovered, on_damage, damage(at, what))?;
        } else if was_durable {
            let what = format!("frame {expected} was durable and is not whole");
            found(recovered, on_damage, damage(offset, what))?;
        } else {
            recovered.cut_bytes = torn.written_bytes;
            break;
        }
        let Some((at, _)) = later else { break };
        offset = at;
    }
    recovered.next_frame = end.unwrap_or(expected).max(expected);
    Ok(())
}

/// A whole frame of this file.
fn frame_of(file: &Opened, offset: usize) -> Option<Frame<'_>> {
    Frame::decode(file.bytes.get(offset..)?, file.head.file_sequence)
}

/// The first whole frame of this file after an offset whose sequence is not below `expected`.
fn next_frame(file: &Opened, offset: usize, expected: u64) -> Option<(usize, FrameHead)> {
    let mut pages = (offset + PAGE_BYTES..file.bytes.len()).step_by(PAGE_BYTES);
    // The sequence first: most pages are old, and that shows without a checksum.
    let sequence = file.head.file_sequence.to_le_bytes();
    pages.find_map(|at| {
        if file.bytes.get(at + 8..at + 16)? != sequence {
            return None;
        }
        let head = frame_of(file, at)?.head;
        (head.sequence >= expected).then_some((at, head))
    })
}

/// What the sectors of a frame that is not whole contain.
struct Torn {
    /// How many of its bytes were written.
    written_bytes: u64,
    /// Offset of the first sector that changed since it was written.
    damaged_at: Option<usize>,
}

/// Reads the sectors at the place of frame `expected`.
fn torn_frame(file: &Opened, offset: usize, expected: u64) -> Torn {
    let mut torn = Torn { written_bytes: 0, damaged_at: None };
    let mut end = (offset + MAX_FRAME_BYTES).min(file.bytes.len());
    let mut at = offset;
    while at + SECTOR_BYTES <= end {
        match Sector::read(&file.bytes[at..at + SECTOR_BYTES], file.head.file_sequence) {
            Sector::Written { frame, index, sectors } if frame == expected => {
                torn.written_bytes += SECTOR_BYTES as u64;
                let left = usize::from(sectors).saturating_sub(usize::from(index));
                end = end.min(at + left * SECTOR_BYTES);
            }
            // The next frame: this one ended before it.
            Sector::Written { frame, .. } if frame > expected => break,
            Sector::Damaged if torn.damaged_at.is_none() => torn.damaged_at = Some(at),
            _ => {}
        }
        at += SECTOR_BYTES;
    }
    torn
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests;
