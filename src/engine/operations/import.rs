//! Importing numbers into the data directory, as a new pool or as a new segment of a pool.
//!
//! Files are built in a staging directory and moved into place when they are complete, so a call that fails
//! or a process that ends leaves nothing half-made.

use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::disk::device::Disk;
use crate::disk::files;
use crate::disk::mapping::MappedBytes;
use crate::disk::sequential::SequentialWriter;
use crate::domain::counts::Counts;
use crate::engine::budgets::Budgets;
use crate::engine::pool::Pool;
use crate::engine::segment::opened_files::{Columns, OpenedSegment};
use crate::engine::segment::{Segment, Segments};
use crate::engine::shared::Shared;
use crate::journal::on_damage::OnDamage;
use crate::numbers::list::content::{Content, open_bitmap};
use crate::numbers::list::error::ListError;
use crate::numbers::list::merged::NumberList;
use crate::numbers::list::read::read_text;
use crate::numbers::list::states::StateRow;
use crate::numbers::list::survey::Survey;
use crate::numbers::list::{InvalidLine, ListOptions};
use crate::numbers::number::{Number, NumberRange};
use crate::numbers::set::error::Format;
use crate::numbers::set::writer::{WriteError, Written};
use crate::numbers::set::{NumberSet, open_any, wrap_32bit_header};
use crate::state::time::Timestamp;
use crate::store::manifest::SegmentEntry;
use crate::store::segment_writer::{make_segment, make_segment_of, write_ranges};
use crate::store::staging::Staging;
use crate::store::table::word_checksums::Layout;
use crate::sys::sync::{Instant, thread};

use super::grow::STAGED;
pub use super::import_error::ImportError;
use super::imported_states::{read_states, rows_in, word};

/// Where numbers come from.
pub enum NumberSource<'a> {
    /// A list as text or CSV.
    List {
        /// The list.
        input: &'a mut (dyn Read + Send),
        /// How to read it.
        options: ListOptions,
        /// Called with the number of bytes read so far.
        progress: &'a (dyn Fn(u64) + Sync),
    },
    /// A portable Roaring bitmap of 32 or 64 bits.
    Roaring {
        /// The bitmap.
        input: &'a mut (dyn Read + Send),
        /// Called with the number of bytes read so far.
        progress: &'a (dyn Fn(u64) + Sync),
    },
    /// Ranges, ascending and disjoint.
    Ranges(&'a [NumberRange]),
}

impl NumberSource<'_> {
    /// The same source, with its states to be read if it has them.
    pub(crate) fn with_states(self, now: Timestamp) -> Self {
        match self {
            Self::List { input, options, progress } => {
                Self::List { input, options: ListOptions { states: read_states(now), ..options }, progress }
            }
            other => other,
        }
    }
}

/// What a source contained.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportReport {
    /// How many distinct numbers.
    pub numbers: u64,
    /// How many were duplicates.
    pub duplicates: u64,
    /// How many lines were skipped as invalid.
    pub invalid: u64,
    /// The first of the invalid lines.
    pub first_invalid: Vec<InvalidLine>,
    /// What the lines look like, if that was asked for.
    pub survey: Option<Survey>,
}

/// The result of adding numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Added {
    /// How many numbers are new in the pool.
    pub added: u64,
    /// How many the pool already had.
    pub existing: u64,
    /// What the source contained.
    pub loaded: ImportReport,
}

/// The numbers of a source that was read to its end, as ascending disjoint ranges.
pub(crate) enum Numbers {
    List(NumberList),
    Set { set: NumberSet<MappedBytes>, path: PathBuf, _staging: Staging },
    Ranges(Vec<NumberRange>),
}

impl Numbers {
    /// Reads a source to its end and validates all of it.
    pub(crate) fn read(source: NumberSource<'_>, shared: &Shared) -> Result<Self, ImportError> {
        match source {
            NumberSource::List { input, options, progress } => match Content::open(input, &options)? {
                Content::Roaring(_) if options.are_for_text() => Err(ListError::Roaring.into()),
                Content::Roaring(bitmap) => read_roaring(&mut bitmap.whole(), progress, shared),
                Content::Text(text) => Ok(Self::List(read_text(text, &options, progress)?)),
            },
            NumberSource::Roaring { input, progress } => {
                read_roaring(&mut open_bitmap(input)?, progress, shared)
            }
            NumberSource::Ranges(ranges) => Ok(Self::Ranges(ranges.to_vec())),
        }
    }

    pub(crate) fn loaded(&self) -> ImportReport {
        match self {
            Self::List(list) => ImportReport {
                numbers: list.numbers(),
                duplicates: list.duplicates,
                invalid: list.invalid,
                first_invalid: list.first_invalid.clone(),
                survey: list.survey.clone(),
            },
            Self::Set { set, .. } => ImportReport { numbers: set.len(), ..ImportReport::default() },
            Self::Ranges(ranges) => ImportReport {
                numbers: ranges.iter().map(|range| range.len()).sum(),
                ..ImportReport::default()
            },
        }
    }

    pub(crate) fn ranges(&self) -> Box<dyn Iterator<Item = NumberRange> + '_> {
        match self {
            Self::List(list) => Box::new(list.ranges()),
            Self::Set { set, .. } => Box::new(set.ranges()),
            Self::Ranges(ranges) => Box::new(ranges.iter().copied()),
        }
    }

    /// The states of all numbers in ascending order, if the source has states.
    pub(crate) fn states(&self) -> Option<&[StateRow]> {
        match self {
            Self::List(list) if !list.states().is_empty() => Some(list.states()),
            _ => None,
        }
    }

    /// Writes the numbers to the set file `path`. A staged Roaring file is moved there unchanged.
    pub(crate) fn write_set(&self, disk: &dyn Disk, path: &Path) -> Result<Written, WriteError> {
        if let Self::Set { set, path: staged, .. } = self {
            let (crc32c, bytes) = files::crc32c_of(set.as_bytes());
            disk.rename(staged, path)?;
            return Ok(Written { numbers: set.len(), bytes, crc32c });
        }
        write_ranges(disk, path, self.ranges())
    }
}

fn read_roaring(
    input: &mut dyn Read,
    progress: &(dyn Fn(u64) + Sync),
    shared: &Shared,
) -> Result<Numbers, ImportError> {
    let disk = &*shared.disk;
    let staging = Staging::new(&shared.disk, &shared.staging_dir)?;
    let path = staging.path().join("body");
    let mut file = disk.create(&path)?;
    copy(input, &mut SequentialWriter::new(disk, &file), progress)?;
    disk.sync(&file)?;
    let (format, set) = open_any(MappedBytes::open(&path)?)?;
    let (set, path) = if format == Format::Portable64 {
        (set, path)
    } else {
        // A 64-bit set with one bucket: a header, then the bytes of the 32-bit set.
        let wrapped = staging.path().join("wrapped");
        let whole_file = disk.create(&wrapped)?;
        let mut whole = SequentialWriter::new(disk, &whole_file);
        whole.write_all(&wrap_32bit_header())?;
        file.rewind()?;
        io::copy(&mut file, &mut whole)?;
        disk.sync(&whole_file)?;
        (NumberSet::open(MappedBytes::open(&wrapped)?)?, wrapped)
    };
    set.validate()?;
    if set.is_empty() {
        return Err(ListError::Empty.into());
    }
    Ok(Numbers::Set { set, path, _staging: staging })
}

fn copy(input: &mut dyn Read, out: &mut dyn Write, progress: &(dyn Fn(u64) + Sync)) -> io::Result<()> {
    let mut total = 0;
    files::read_in_parts(input, |part| {
        out.write_all(part)?;
        total += part.len() as u64;
        progress(total);
        Ok(())
    })
}

/// Opens a new segment.
pub(crate) fn open_new_segment(
    shared: &Shared,
    dir: &Path,
    entry: &SegmentEntry,
    has_holders: bool,
) -> Result<(Segment, Counts), ImportError> {
    let raw = OpenedSegment::open(
        &shared.fail_stop_disk,
        dir,
        entry,
        shared.sharing,
        OnDamage::Refuse,
        Columns { layout: Layout::WithAttempts, has_holders },
    )?;
    Ok(raw.activate(shared.slots)?)
}

/// How often an addition looks whether segments have been merged.
const MERGE_PAUSE: Duration = Duration::from_millis(5);
/// How long it waits for that.
const MAX_MERGE_WAIT: Duration = Duration::from_secs(10);

impl Pool {
    /// Adds the numbers of the source that the pool does not have, in their states if it is an exported CSV. Does
    /// not affect current leases. Few new numbers go to a segment that grows, many make a new one.
    pub fn add_numbers(&self, source: NumberSource<'_>) -> Result<Added, ImportError> {
        self.shared.budgets.check_space()?;
        let numbers = Numbers::read(source.with_states(self.shared.clock.now()), &self.shared)?;
        let loaded = numbers.loaded();
        let reserved = self.shared.budgets.reserve(loaded.numbers)?;
        self.wait_for_merges()?;
        let added = if loaded.numbers > self.max_appended() || numbers.states().is_some() {
            self.add_segment(&numbers)?
        } else {
            let each = numbers.ranges().flat_map(|range| range.first().get()..=range.last().get());
            self.add_few(each.filter_map(|number| Number::new(number).ok()).collect())?
        };
        reserved.keep(added, &self.account);
        Ok(Added { added, existing: loaded.numbers - added, loaded })
    }

    /// Waits while the pool has too many segments: additions must not outrun the merges.
    fn wait_for_merges(&self) -> Result<(), ImportError> {
        let started = Instant::now();
        while self.segments.load().are_too_many() {
            if started.elapsed() > MAX_MERGE_WAIT {
                return Err(ImportError::TooManySegments);
            }
            thread::sleep(MERGE_PAUSE);
        }
        Ok(())
    }

    /// Adds the numbers that no segment has as a segment of their own. Returns how many.
    fn add_segment(&self, numbers: &Numbers) -> Result<u64, ImportError> {
        Budgets::check_descriptors()?;
        let adding = self.begin_addition()?;
        let segments = self.segments.load_full();
        let disk = &*self.shared.disk;
        let staging = Staging::new(&self.shared.disk, &self.shared.staging_dir)?;
        let new = numbers.ranges().flat_map(|range| segments.missing(range));
        let round = self.round();
        let entry = match numbers.states() {
            None => make_segment(disk, staging.path(), STAGED, |path| write_ranges(disk, path, new))?,
            Some(states) => {
                let new: Vec<_> = new.collect();
                let words = rows_in(states, &new).map(|row| word(row, round));
                let write = |path: &Path| write_ranges(disk, path, new.iter().copied());
                make_segment_of(disk, staging.path(), STAGED, write, Some(words))?
            }
        };
        if entry.numbers == 0 {
            return Ok(0);
        }
        let mut found = Counts::default();
        let activate = |raw: OpenedSegment| {
            let (segment, counts) = raw.activate(self.shared.slots)?;
            found = counts;
            Ok(segment)
        };
        let add = |segments: &Segments, segment: &Arc<Segment>| segments.with_segment(Arc::clone(segment));
        let bulk = self.shared.begin_bulk();
        self.publish(&staging, &entry, activate, add)?;
        self.shared.operate(|slot| self.counters.found(slot, found));
        if self.round() != round {
            // The scan that opened a round meanwhile did not see these numbers.
            self.finish_round();
        }
        drop(adding);
        // Waits for the journal.
        drop(bulk);
        Ok(entry.numbers)
    }
}
