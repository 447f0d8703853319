//! `pool.toml`: the manifest of a pool. Replaced atomically at each change.
//!
//! The first line is a checksum of the rest, so that a flipped bit is not read as a setting. Settings must be
//! changed through the API, not in the file.
//!
//! To change the format: raise `FORMAT`, keep reading the earlier versions, and keep a file of each version
//! in the tests.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::coordinates::SegmentId;
use crate::disk::device::Disk;
use crate::disk::files;
use crate::domain::lease_token::Epoch;
use crate::domain::note::Note;
use crate::domain::remark::Remark;
use crate::domain::settings::Settings;
use crate::state::time::{EPOCH_UNIX_SECONDS, Timestamp};

use super::checksummed_text::{ChecksummedToml, checksummed_toml};
use super::table::word_checksums::Layout;
use super::zones_file::ZonesEntry;

/// Version of the manifest and of the files it names.
pub(crate) const FORMAT: u32 = 5;
/// The first version whose words have attempts.
const FIRST_WITH_ATTEMPTS: u32 = 5;
/// The oldest version that is read: it has no epochs. Format 3 names no lists.
const OLDEST_FORMAT: u32 = 2;
/// The manifest's name in the pool's directory.
pub(crate) const MANIFEST_FILE: &str = "pool.toml";
/// The round of a new pool.
pub(crate) const FIRST_ROUND: u32 = 1;
/// Maximum length of a manifest.
const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// This program did not write it so.
    #[error("{0} is damaged: {1}")]
    Damaged(PathBuf, String),
    /// Another version of this program wrote it.
    #[error(
        "{0} has format {1}, this allotd reads formats {OLDEST_FORMAT} to {FORMAT}: use the version of allotd that wrote it"
    )]
    OtherFormat(PathBuf, u32),
}

/// The content of `pool.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    /// Sixteen hexadecimal digits; part of every token.
    id: String,
    pub(crate) round: u32,
    pub(crate) paused: bool,
    /// When a pause ends by itself, in seconds since the Unix epoch: leases that were given after the backup that
    /// the pool was restored from have ended then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) paused_until: Option<u64>,
    /// Why it is paused, as the operator said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pause_reason: Option<Remark>,
    /// The largest generation whose attempts do not count any more: those of the round have larger ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) attempts_floor: u32,
    /// Whether leases that were confirmed may be unknown here: the next start begins an epoch of tokens.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) begins_epoch: bool,
    #[serde(default, skip_serializing_if = "Note::is_empty")]
    pub(crate) note: Note,
    pub(crate) settings: Settings,
    /// The time zones of the numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) zones: Option<ZonesEntry>,
    #[serde(default)]
    pub(crate) segments: Vec<SegmentEntry>,
    /// Epochs of the tokens, with ascending floors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    epochs: Vec<EpochEntry>,
    /// Whether it was read from a version whose words have no attempts, and has not been written since.
    #[serde(skip)]
    pub(crate) is_without_attempts: bool,
}

/// An epoch of a pool's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochEntry {
    floor: u32,
    /// Sixteen hexadecimal digits.
    id: String,
}

/// One segment's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SegmentEntry {
    pub(crate) id: SegmentId,
    /// How many numbers the set holds; 0 if it grows.
    pub(crate) numbers: u64,
    /// Length of the numbers file; 0 if it grows.
    pub(crate) numbers_bytes: u64,
    /// CRC32C of the numbers file; 0 if it grows.
    pub(crate) numbers_crc32c: u32,
    /// How many numbers a segment that grows has room for; 0 for a sorted one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) capacity: u32,
    /// The segments whose numbers this one takes over. Each word is the larger of the two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) merges: Vec<SegmentId>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl SegmentEntry {
    /// How many words its table has.
    pub(crate) fn words(&self) -> u32 {
        if self.capacity > 0 { self.capacity } else { self.numbers as u32 }
    }
}

impl Manifest {
    pub(crate) fn new(pool_id: u64, settings: Settings, segments: Vec<SegmentEntry>) -> Self {
        Self {
            format: FORMAT,
            id: format!("{pool_id:016x}"),
            round: FIRST_ROUND,
            paused: false,
            paused_until: None,
            pause_reason: None,
            attempts_floor: 0,
            begins_epoch: false,
            note: Note::default(),
            settings,
            zones: None,
            segments,
            epochs: Vec::new(),
            is_without_attempts: false,
        }
    }

    /// How the words are in files that do not tell it themselves.
    pub(crate) fn words_layout(&self) -> Layout {
        if self.is_without_attempts { Layout::WithoutAttempts } else { Layout::WithAttempts }
    }

    /// The epochs of the pool's tokens.
    pub(crate) fn epochs(&self) -> Vec<Epoch> {
        // Checked when they were read.
        let id = |id: &str| u64::from_str_radix(id, 16).unwrap_or_default();
        self.epochs.iter().map(|epoch| Epoch { floor: epoch.floor, id: id(&epoch.id) }).collect()
    }

    /// Begins an epoch. An epoch without a known lease is replaced: none of its tokens is of use any more.
    pub(crate) fn begin_epoch(&mut self, epoch: Epoch) {
        self.begins_epoch = false;
        self.epochs.retain(|other| other.floor < epoch.floor);
        self.epochs.push(EpochEntry { floor: epoch.floor, id: format!("{:016x}", epoch.id) });
    }

    /// Pauses the pool or resumes it; `until` is when a pause ends by itself.
    pub(crate) fn set_paused(&mut self, paused: bool, until: Option<Timestamp>) {
        self.paused = paused;
        self.paused_until = until.filter(|_| paused).map(Timestamp::unix_seconds);
        self.pause_reason = None;
    }

    /// When a pause ends by itself.
    pub(crate) fn paused_until(&self) -> Option<Timestamp> {
        let seconds = self.paused_until?.saturating_sub(EPOCH_UNIX_SECONDS);
        Some(Timestamp::checked(seconds).unwrap_or(Timestamp::MAX))
    }

    pub(crate) fn pool_id(&self) -> u64 {
        // Checked when it was read.
        u64::from_str_radix(&self.id, 16).unwrap_or_default()
    }

    /// The id that a new segment gets: above all others and above `last`, or else, once the highest is in use, the lowest that
    /// is not and that may be used again. `None` if there is none.
    pub(crate) fn next_segment_id(
        &self,
        last: u16,
        may_reuse: impl Fn(SegmentId) -> bool,
    ) -> Option<SegmentId> {
        let highest = self.segments.last().map_or(0, |segment| segment.id.0).max(last);
        let is_used = |id| self.segments.binary_search_by_key(&id, |segment| segment.id).is_ok();
        match highest.checked_add(1) {
            Some(next) => Some(SegmentId(next)),
            None => (1..u16::MAX).map(SegmentId).find(|id| !is_used(*id) && may_reuse(*id)),
        }
    }

    /// Adds a segment.
    pub(crate) fn insert_segment(&mut self, entry: SegmentEntry) {
        let place = self.segments.partition_point(|other| other.id < entry.id);
        self.segments.insert(place, entry);
    }

    /// The merges that are not complete: the ids of the segments that take numbers over, and those of the
    /// segments that they come from.
    pub(crate) fn merges(&self) -> impl Iterator<Item = (SegmentId, &[SegmentId])> {
        let merging = self.segments.iter().filter(|segment| !segment.merges.is_empty());
        merging.map(|segment| (segment.id, &segment.merges[..]))
    }

    /// Ends the merge into a segment: the segments that it merges are no longer part of the pool.
    pub(crate) fn end_merge(&mut self, into: SegmentId) {
        let target = self.segments.iter_mut().find(|segment| segment.id == into);
        let merged = target.map(|segment| std::mem::take(&mut segment.merges)).unwrap_or_default();
        self.segments.retain(|segment| !merged.contains(&segment.id));
    }

    pub(crate) fn read(pool_dir: &Path) -> Result<Self, ManifestError> {
        let path = pool_dir.join(MANIFEST_FILE);
        let content = match files::read_small_file(&path, MAX_MANIFEST_BYTES) {
            Ok(content) => content,
            Err(error) => return Err(ManifestError::Io(path, error)),
        };
        Self::parse(&path, &content)
    }

    /// Reads the content of the file at `path`.
    pub(crate) fn parse(path: &Path, content: &[u8]) -> Result<Self, ManifestError> {
        let damaged = |what| ManifestError::Damaged(path.to_owned(), what);
        let found = ChecksummedToml::parse(content).map_err(damaged)?;
        let format = found.format().map_err(damaged)?;
        if !(OLDEST_FORMAT..=FORMAT).contains(&format) {
            return Err(ManifestError::OtherFormat(path.to_owned(), format));
        }
        let mut manifest: Self = found.values().map_err(damaged)?;
        manifest.check().map_err(damaged)?;
        manifest.is_without_attempts = manifest.format < FIRST_WITH_ATTEMPTS;
        manifest.format = FORMAT;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let is_hexadecimal = |id: &str| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let ids = std::iter::once(&self.id).chain(self.epochs.iter().map(|epoch| &epoch.id));
        if let Some(id) = ids.into_iter().find(|id| !is_hexadecimal(id)) {
            return Err(format!("id is \"{id}\", not sixteen hexadecimal digits"));
        }
        if !self.epochs.is_sorted_by(|a, b| a.floor < b.floor) {
            return Err("the epochs are not in the order of their floors".to_owned());
        }
        if self.attempts_floor > crate::state::word::MAX_GENERATION {
            return Err(format!("attempts_floor is {}", self.attempts_floor));
        }
        if self.round == 0 || self.round > crate::state::word::MAX_ROUND {
            return Err(format!("round is {}", self.round));
        }
        if !self.segments.is_sorted_by(|a, b| a.id < b.id) {
            return Err("the segments are not in the order of their ids".to_owned());
        }
        let is_known = |id: &SegmentId| self.segments.iter().any(|segment| segment.id == *id);
        if !self.merges().flat_map(|(_, merged)| merged).all(is_known) {
            return Err("a segment is to be merged that does not exist".to_owned());
        }
        self.settings
            .changed(&crate::domain::settings::SettingsChange::default())
            .map_err(|e| e.to_string())?;
        Ok(())
    }

    /// The file's content.
    pub(crate) fn content(&self) -> io::Result<String> {
        // Until its tables are written anew, which they are as it is read.
        let format = if self.is_without_attempts { FIRST_WITH_ATTEMPTS - 1 } else { FORMAT };
        let written = Self { format, ..self.clone() };
        checksummed_toml(&written)
    }

    pub(crate) fn write(&self, disk: &dyn Disk, pool_dir: &Path) -> io::Result<()> {
        files::replace_file(disk, &pool_dir.join(MANIFEST_FILE), self.content()?.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::device::RealDisk;
    use crate::store::checksummed_text::with_checksum;

    /// As format 2 was written. Never change it: later versions go on reading it.
    const FORMAT_2: &str = "crc32c = \"CHECKSUM\"\nformat = 2\nid = \"00000000000000ab\"\nround = 3\npaused = true\n\n\
                            [settings]\norder = \"random\"\nttl = 60\nttl_max = 3600\nrest = 0\non_expiry = \"available\"\n\n\
                            [settings.outcomes]\n\n[[segments]]\nid = 1\nnumbers = 5\nnumbers_bytes = 40\n\
                            numbers_crc32c = 7\n";

    /// As format 3 was written.
    const FORMAT_3: &str = "crc32c = \"CHECKSUM\"\nformat = 3\nid = \"00000000000000ab\"\nround = 1\npaused = false\n\n\
                            [settings]\norder = \"lowest\"\nttl = 60\nttl_max = 3600\nrest = 0\n\n\
                            [settings.on_expiry]\nrest = 5\n\n[settings.outcomes]\nno = \"retired\"\n\n[[epochs]]\n\
                            floor = 4\nid = \"0000000000000001\"\n";

    #[test]
    fn format_3_is_read_and_becomes_the_present_one_with_lists() {
        let dir = tempfile::tempdir().unwrap();
        let rest = FORMAT_3.split_once('\n').unwrap().1;
        std::fs::write(dir.path().join(MANIFEST_FILE), with_checksum(rest)).unwrap();
        let mut manifest = Manifest::read(dir.path()).unwrap();
        assert_eq!((manifest.settings.blocked_by.len(), manifest.epochs().len()), (0, 1));
        manifest.write(&RealDisk, dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), manifest, "its tables are not written anew yet");
        assert_eq!(manifest.words_layout(), Layout::WithoutAttempts);
        manifest.is_without_attempts = false;
        manifest.settings.blocked_by = vec!["optouts".parse().unwrap()];
        manifest.settings.outcomes.insert("do_not_call".to_owned(), "list:optouts".parse().unwrap());
        manifest.write(&RealDisk, dir.path()).unwrap();
        let read = Manifest::read(dir.path()).unwrap();
        assert_eq!((read.format, &read), (5, &manifest));
    }

    #[test]
    fn format_2_is_read_and_epochs_are_kept_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let rest = FORMAT_2.split_once('\n').unwrap().1;
        std::fs::write(dir.path().join(MANIFEST_FILE), with_checksum(rest)).unwrap();
        let mut manifest = Manifest::read(dir.path()).unwrap();
        assert_eq!((manifest.round, manifest.paused, manifest.epochs().len()), (3, true, 0));
        manifest.is_without_attempts = false;
        for (floor, id) in [(4, 1), (9, 2), (9, 3)] {
            manifest.begins_epoch = true;
            manifest.begin_epoch(Epoch { floor, id });
            manifest.write(&RealDisk, dir.path()).unwrap();
            assert_eq!(Manifest::read(dir.path()).unwrap(), manifest);
        }
        assert_eq!(manifest.epochs(), [Epoch { floor: 4, id: 1 }, Epoch { floor: 9, id: 3 }]);
    }
}
