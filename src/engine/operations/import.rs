//! Importing numbers into the data directory, as a new pool or as a new segment of a pool.
//!
//! Files are built in a staging directory and moved into place when they are complete, so a call that fails
//! or a process that ends leaves nothing half-made.

use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use crate::disk::device::Disk;
use crate::disk::files;
use crate::disk::mapping::MappedBytes;
use crate::disk::sequential::SequentialWriter;
use crate::domain::counts::Counts;
use crate::domain::settings::PoolName;
use crate::engine::pool::{ChangeError, Pool};
use crate::engine::segment::opened::OpenedSegment;
use crate::engine::segment::{Segment, Segments};
use crate::engine::shared::Shared;
use crate::journal::handle::JournalError;
use crate::journal::on_damage::OnDamage;
use crate::numbers::list::error::ListError;
use crate::numbers::list::merged::NumberList;
use crate::numbers::list::read::read_list;
use crate::numbers::list::states::StateRow;
use crate::numbers::list::{InvalidLine, ListOptions};
use crate::numbers::number::NumberRange;
use crate::numbers::set::error::{Format, SetError};
use crate::numbers::set::writer::{WriteError, Written};
use crate::numbers::set::{NumberSet, open_any, wrap_32bit_header};
use crate::store::damage::SegmentError;
use crate::store::manifest::SegmentEntry;
use crate::store::pool_dir::SegmentPaths;
use crate::store::segment_writer::{make_segment, write_ranges};
use crate::store::staging::Staging;

/// Maximum segments of one pool: each number that a call names is looked up in each of them.
pub const MAX_SEGMENTS: usize = 1_000;

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

/// Why numbers could not be read or stored. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There already is a pool of this name.
    #[error("there already is a pool \"{0}\": choose another name, add numbers to it, or delete it first")]
    PoolExists(PoolName),
    /// Too many pools.
    #[error("there are {0} pools, the most that one daemon can have: delete one first")]
    TooManyPools(usize),
    /// Numbers were added too many times.
    #[error(
        "numbers were added to this pool {MAX_SEGMENTS} times: export it and create a new pool from the export"
    )]
    TooManySegments,
    /// The list is invalid.
    #[error(transparent)]
    Import(#[from] ListError),
    /// The Roaring bitmap is invalid.
    #[error("the body is not a portable Roaring bitmap: {0}")]
    Set(#[from] SetError),
    /// The disk has no space left.
    #[error("the disk of the data directory is full: free some space and try again")]
    StorageFull,
    /// The pool was deleted meanwhile.
    #[error("the pool was deleted")]
    Deleted,
    /// Reading the source or writing the data directory failed.
    #[error("{0}")]
    Io(io::Error),
    /// The new files could not be opened.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The journal accepts no change.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl From<io::Error> for ImportError {
    fn from(error: io::Error) -> Self {
        if files::is_storage_full(&error) { Self::StorageFull } else { Self::Io(error) }
    }
}

impl From<WriteError> for ImportError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io(error) => error.into(),
            other => Self::Io(io::Error::other(other)),
        }
    }
}

impl From<ChangeError> for ImportError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Io(error) => error.into(),
            ChangeError::Deleted => Self::Deleted,
            ChangeError::Journal(error) => Self::Journal(error),
            other => Self::Io(io::Error::other(other)),
        }
    }
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
            NumberSource::List { input, options, progress } => {
                Ok(Self::List(read_list(input, &options, progress)?))
            }
            NumberSource::Roaring { input, progress } => read_roaring(input, progress, shared),
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
    input: &mut (dyn Read + Send),
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
) -> Result<(Segment, Counts), ImportError> {
    let raw = OpenedSegment::open(&shared.fail_stop_disk, dir, entry, shared.sharing, OnDamage::Refuse)?;
    Ok(raw.activate(shared.slots)?)
}

impl Pool {
    /// Adds the numbers of the source that the pool does not have, as a new segment. Does not affect current
    /// leases.
    pub fn add_numbers(&self, source: NumberSource<'_>) -> Result<Added, ImportError> {
        let numbers = Numbers::read(source, &self.shared)?;
        let loaded = numbers.loaded();
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let segments = self.segments.load_full();
        if segments.list.len() >= MAX_SEGMENTS {
            return Err(ImportError::TooManySegments);
        }
        let disk = &*self.shared.disk;
        let staging = Staging::new(&self.shared.disk, &self.shared.staging_dir)?;
        let new = numbers.ranges().flat_map(|range| segments.missing(range));
        let id = self.manifest().next_segment_id();
        let entry = make_segment(disk, staging.path(), id, |path| write_ranges(disk, path, new))?;
        let added = entry.numbers;
        if added > 0 {
            self.publish(&staging, entry, &segments)?;
        }
        Ok(Added { added, existing: loaded.numbers - added, loaded })
    }

    /// Moves the files of a new segment into place and starts to use it.
    fn publish(
        &self,
        staging: &Staging,
        entry: SegmentEntry,
        segments: &Segments,
    ) -> Result<(), ImportError> {
        let disk = &*self.shared.fail_stop_disk;
        let staged = SegmentPaths::new(staging.path(), entry.id);
        let placed = SegmentPaths::new(&self.dir, entry.id);
        let mut opened = None;
        let published = self.change_manifest(
            |manifest| -> Result<(), ImportError> {
                for (from, to) in staged.all().into_iter().zip(placed.all()) {
                    disk.rename(from, to)?;
                }
                disk.sync_directory(&self.dir)?;
                opened = Some(open_new_segment(&self.shared, &self.dir, &entry)?);
                manifest.segments.push(entry.clone());
                Ok(())
            },
            |_| (),
        );
        if published.is_err() {
            // The manifest on disk decides whether the new files are in use. What cannot be removed now the next
            // start removes.
            let _ = self.change_manifest(
                |manifest| -> Result<(), ImportError> {
                    if manifest.segments.iter().all(|other| other.id != entry.id) {
                        placed.all().into_iter().for_each(|path| drop(disk.remove_file(path)));
                    }
                    Ok(())
                },
                |_| (),
            );
        }
        published?;
        if let Some((segment, counts)) = opened {
            self.shared.operate(|slot| self.counters.found(slot, counts));
            let list = segments.list.iter().cloned().chain([Arc::new(segment)]).collect();
            self.segments.store(Arc::new(Segments::new(list)));
        }
        Ok(())
    }
}
