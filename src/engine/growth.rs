//! How a pool's list of segments changes: the segment that single additions go to, and the ids of new ones.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError};

use crate::coordinates::SegmentId;
use crate::numbers::number::Number;
use crate::store::manifest::Manifest;
use crate::sys::atomics::{AtomicBool, Ordering};
use crate::sys::sync::{Mutex, MutexGuard};

use super::segment::{Segment, Segments};

/// Checkpoints after which no journal record of a removed segment is left: the one that is under way when it
/// is removed may have begun before.
const CHECKPOINTS_TO_FORGET: u64 = 2;

/// An addition of few numbers.
pub(crate) struct FewNumbers {
    pub(crate) numbers: Vec<Number>,
    /// How many of them were new, once they are added.
    pub(crate) added: OnceLock<u64>,
}

/// The growth of one pool.
pub(crate) struct Growth {
    /// The segment that single additions go to. Held during an addition to it.
    active: Mutex<Option<Arc<Segment>>>,
    /// Additions of few numbers that wait for others to end.
    waiting: Mutex<Vec<Arc<FewNumbers>>>,
    ids: Mutex<Ids>,
    /// Held during a merge.
    merging: Mutex<()>,
    /// Whether the manifest names a merge that a start has completed in memory.
    has_recovered_merge: AtomicBool,
}

#[derive(Default)]
struct Ids {
    /// The last id that was given out in this process, whether or not it came into use.
    last: u16,
    /// Segments that were removed, and how many checkpoints had been made by then.
    removed: BTreeMap<SegmentId, u64>,
}

impl Growth {
    pub(crate) fn new(segments: &Segments, manifest: &Manifest) -> Self {
        let active = segments.list.iter().rev().find(|segment| segment.room() > 0).cloned();
        Self {
            active: Mutex::new(active),
            waiting: Mutex::default(),
            ids: Mutex::default(),
            merging: Mutex::new(()),
            has_recovered_merge: AtomicBool::new(manifest.merges().next().is_some()),
        }
    }

    /// Locks the segment that single additions go to.
    pub(crate) fn active(&self) -> MutexGuard<'_, Option<Arc<Segment>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The additions of few numbers that wait for others to end.
    pub(crate) fn waiting(&self) -> MutexGuard<'_, Vec<Arc<FewNumbers>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an addition, and of those that wait as many as make up to `numbers` numbers with it.
    pub(crate) fn take_waiting(&self, own: &Arc<FewNumbers>, numbers: u64) -> Vec<Arc<FewNumbers>> {
        let (mut taken, mut room) = (vec![Arc::clone(own)], numbers.saturating_sub(own.numbers.len() as u64));
        self.waiting().retain(|addition| {
            let count = addition.numbers.len() as u64;
            let is_own = Arc::ptr_eq(addition, own);
            let fits = !is_own && count <= room;
            if fits {
                room -= count;
                taken.push(Arc::clone(addition));
            }
            !(is_own || fits)
        });
        taken
    }

    /// Waits until no other thread merges segments of the pool, and keeps others from it.
    pub(crate) fn merging(&self) -> MutexGuard<'_, ()> {
        self.merging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of a new segment; `None` if all are in use. `checkpoints` is how many have been made.
    pub(crate) fn next_id(&self, manifest: &Manifest, checkpoints: u64) -> Option<SegmentId> {
        let mut ids = self.ids();
        let is_forgotten = |id| {
            let removed_at = ids.removed.get(&id).copied().unwrap_or(0);
            checkpoints >= removed_at + CHECKPOINTS_TO_FORGET
        };
        let id = manifest.next_segment_id(ids.last, is_forgotten)?;
        ids.last = ids.last.max(id.0);
        Some(id)
    }

    /// Notes that segments are no longer part of the pool.
    pub(crate) fn removed(&self, segments: &[SegmentId], checkpoints: u64) {
        self.ids().removed.extend(segments.iter().map(|id| (*id, checkpoints)));
    }

    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the manifest names a merge that a start has completed in memory.
    pub(crate) fn has_recovered_merge(&self) -> bool {
        self.has_recovered_merge.load(Ordering::SeqCst)
    }

    /// Call once the manifest names no such merge.
    pub(crate) fn forget_recovered_merge(&self) {
        self.has_recovered_merge.store(false, Ordering::SeqCst);
    }
}
