//! The operators' calls on lists: create, delete, add, remove, replace.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, PoisonError};

use crate::domain::list_name::ListName;
use crate::engine::operations::import::{ImportError, ImportReport, NumberSource, Numbers};
use crate::engine::registry::Engine;
use crate::engine::shared::{BURST_RECORDS, SWEEPER_SLOT};
use crate::journal::error::JournalError;
use crate::numbers::number::{Number, NumberRange};
use crate::numbers::pieces::{changed, common, differences};
use crate::numbers::set::writer::WriteError;
use crate::store::pool_dir::HIDDEN_PREFIX;
use crate::store::staging::{self, Staging};

use super::apply::Effects;
use super::list::{List, Snapshot, TooManyNumbers};
use super::{Lists, NoSuchList, PoolEffect};

/// Most lists of one daemon.
pub const MAX_LISTS: usize = 1_000;
/// Changes of more ranges than this write the set anew instead of going through the journal.
const MAX_JOURNALED_RANGES: usize = 1 << 16;
/// Most numbers of a change that is made number by number.
const MAX_SINGLE_NUMBERS: usize = 64;

/// Why a list was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// No such list.
    #[error(transparent)]
    NotFound(#[from] NoSuchList),
    /// There already is a list of this name.
    #[error("there already is a list {0}: choose another name, add numbers to it, or replace them")]
    Exists(ListName),
    /// Too many lists.
    #[error("there are {0} lists, the most that one daemon can have: delete one first")]
    TooMany(usize),
    /// Pools use it.
    #[error(
        "the list {list} is used by {pools}: take it out of their blocked_by and outcomes first, or delete them"
    )]
    InUse {
        /// The list.
        list: ListName,
        /// The pools, by name.
        pools: String,
    },
    /// It would hold too many numbers.
    #[error(transparent)]
    TooManyNumbers(#[from] TooManyNumbers),
    /// The numbers could not be read or stored.
    #[error(transparent)]
    Import(#[from] ImportError),
}

impl From<io::Error> for ListError {
    fn from(error: io::Error) -> Self {
        Self::Import(error.into())
    }
}

impl From<JournalError> for ListError {
    fn from(error: JournalError) -> Self {
        Self::Import(error.into())
    }
}

impl From<WriteError> for ListError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::TooManyNumbers => Self::TooManyNumbers(TooManyNumbers),
            other => Self::Import(other.into()),
        }
    }
}

/// How to change a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListChange {
    /// The numbers go onto it.
    Add,
    /// They are taken off it.
    Remove,
    /// They are all that is on it from then on.
    Replace,
}

/// What a change of a list did, or would do in a dry run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListReport {
    /// How many numbers went onto the list.
    pub added: u64,
    /// How many were taken off.
    pub removed: u64,
    /// How many of the source's numbers were on the list before.
    pub existing: u64,
    /// What it means for the pools that use the list.
    pub pools: Vec<PoolEffect>,
    /// What the source contained.
    pub loaded: ImportReport,
}

/// What a change does to the numbers of a list, ascending: true for those that go onto it. Each of a few ranges is
/// looked up in the list; many are merged with all of it.
fn effect<'a>(
    change: ListChange,
    before: &'a Snapshot,
    numbers: &'a Numbers,
    is_few: bool,
) -> Box<dyn Iterator<Item = (NumberRange, bool)> + 'a> {
    let given = numbers.ranges();
    match change {
        ListChange::Add if is_few => {
            Box::new(given.flat_map(|range| differences(before.ranges_in(range), std::iter::once(range))))
        }
        ListChange::Remove if is_few => {
            Box::new(given.flat_map(|range| before.ranges_in(range)).map(|range| (range, false)))
        }
        ListChange::Add => Box::new(differences(before.ranges(), given).filter(|(_, is_given)| *is_given)),
        ListChange::Remove => Box::new(common(before.ranges(), given).map(|range| (range, false))),
        ListChange::Replace => Box::new(differences(before.ranges(), given)),
    }
}

/// Counts changes as they pass.
fn counted(
    changes: impl Iterator<Item = (NumberRange, bool)>,
    report: &mut ListReport,
) -> impl Iterator<Item = (NumberRange, bool)> {
    changes.inspect(|(range, on)| *if *on { &mut report.added } else { &mut report.removed } += range.len())
}

/// The numbers, if they are few.
fn few_of(numbers: &Numbers) -> Option<Vec<Number>> {
    let each = numbers.ranges().flat_map(|range| range.first().get()..=range.last().get());
    let few: Vec<_> =
        each.take(MAX_SINGLE_NUMBERS + 1).filter_map(|number| Number::new(number).ok()).collect();
    (few.len() <= MAX_SINGLE_NUMBERS).then_some(few)
}

impl Engine {
    /// Waits until everything seen so far is committed. Blocks the thread.
    pub fn settle(&self) -> Result<(), JournalError> {
        self.shared.journal.settle(SWEEPER_SLOT)
    }

    /// All lists, by name.
    pub fn lists(&self) -> Vec<Arc<List>> {
        self.shared.lists.all()
    }

    /// A list by its name.
    pub fn list(&self, name: ListName) -> Result<Arc<List>, NoSuchList> {
        self.shared.lists.get(name)
    }

    /// How many pools name each list in their settings; lists that none names are left out.
    pub fn list_uses(&self) -> HashMap<ListName, u64> {
        self.shared.lists.uses()
    }

    /// The names of the pools whose settings name a list.
    pub fn pools_using(&self, name: ListName) -> Vec<String> {
        // Those that are being created are among them too.
        let users = self.shared.lists.users();
        let names: BTreeSet<_> =
            users.iter().filter(|pool| pool.names(name)).map(|pool| pool.pool_name()).collect();
        names.into_iter().collect()
    }

    /// Creates a list, empty or from a source of numbers.
    pub fn create_list(
        &self,
        name: ListName,
        source: Option<NumberSource<'_>>,
    ) -> Result<ImportReport, ListError> {
        let (shared, lists) = (&self.shared, &self.shared.lists);
        let refuse = || match lists.get(name) {
            Ok(_) => Err(ListError::Exists(name)),
            Err(_) if lists.all().len() >= MAX_LISTS => Err(ListError::TooMany(lists.all().len())),
            Err(_) => Ok(()),
        };
        refuse()?;
        shared.journal.check()?;
        let numbers = source.map(|source| Numbers::read(source, shared)).transpose()?;
        let staging = Staging::new(&shared.disk, &shared.staging_dir)?;
        let ranges = numbers.iter().flat_map(Numbers::ranges);
        let manifest = List::create(shared, &staging, staging::random_id()?, ranges)?;
        let _changing = lists.begin_change();
        refuse()?;
        let (dir, disk) = (lists.dir.join(name.as_str()), &*shared.fail_stop_disk);
        disk.create_directories(&lists.dir)?;
        crate::disk::files::sync_parent(disk, &lists.dir)?;
        disk.rename(staging.path(), &dir)?;
        disk.sync_directory(&lists.dir)?;
        let list = List::open_new(name, dir, manifest).map_err(io::Error::other)?;
        list.set_changed_at(shared.clock.now());
        lists.change_map(|all| all.insert(name, Arc::new(list)));
        Ok(numbers.map(|numbers| numbers.loaded()).unwrap_or_default())
    }

    /// Deletes a list that no pool uses.
    pub fn delete_list(&self, name: ListName) -> Result<(), ListError> {
        let (shared, lists) = (&self.shared, &self.shared.lists);
        shared.journal.check()?;
        let disk = &*shared.fail_stop_disk;
        let hidden = lists.dir.join(format!("{HIDDEN_PREFIX}{:016x}", staging::random_id()?));
        let list = lists.get(name)?;
        let _changing = lists.begin_change();
        let pools = self.pools_using(name);
        if !pools.is_empty() {
            return Err(ListError::InUse { list: name, pools: pools.join(", ") });
        }
        let _exchanging = list.begin_exchange();
        let mut deleted = list.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *deleted, true) {
            return Err(NoSuchList(name).into());
        }
        disk.rename(&list.dir, &hidden).inspect_err(|_| *deleted = false)?;
        lists.change_map(|all| all.remove(&name));
        disk.sync_directory(&lists.dir)?;
        // The list is deleted. The next start removes what cannot be removed now.
        let _ = disk.remove_directory(&hidden);
        Ok(())
    }

    /// Changes a list, and with it at once all pools that use it; `dry_run` only counts. When this returns, no
    /// lease of a number that went onto the list is given.
    pub fn change_list(
        &self,
        name: ListName,
        change: ListChange,
        source: NumberSource<'_>,
        dry_run: bool,
    ) -> Result<ListReport, ListError> {
        let (shared, lists) = (&self.shared, &self.shared.lists);
        let list = lists.get(name)?;
        let numbers = Numbers::read(source, shared)?;
        shared.journal.check()?;
        let loaded = numbers.loaded();
        let mut report = ListReport { loaded, ..ListReport::default() };
        let is_few = numbers.ranges().take(MAX_JOURNALED_RANGES + 1).count() <= MAX_JOURNALED_RANGES;
        if dry_run {
            let before = list.snapshot();
            let mut effects = Effects::new(lists, &list);
            let changes = counted(effect(change, &before, &numbers, is_few), &mut report);
            Lists::count_users(&list, changes, &mut effects);
            report.pools = effects.report();
        } else if change != ListChange::Replace && is_few {
            self.change_few(&list, change, &numbers, &mut report)?;
        } else {
            self.exchange(&list, change, &numbers, &mut report)?;
        }
        if !dry_run {
            // No lease may be in progress that has not seen it. See `Journal::settled_position`.
            let position = shared.journal.settled_position(SWEEPER_SLOT);
            shared.journal.wait_for(SWEEPER_SLOT, position)?;
            if list.is_deleted() {
                return Err(NoSuchList(name).into());
            }
        }
        let kept = match change {
            ListChange::Remove => report.removed,
            ListChange::Add | ListChange::Replace => report.loaded.numbers.saturating_sub(report.added),
        };
        report.existing = kept;
        Ok(report)
    }

    /// Changes a list through the journal.
    fn change_few(
        &self,
        list: &List,
        change: ListChange,
        numbers: &Numbers,
        report: &mut ListReport,
    ) -> Result<(), ListError> {
        let (shared, lists) = (&self.shared, &self.shared.lists);
        let before = list.snapshot();
        counted(effect(change, &before, numbers, true), report).for_each(drop);
        let on = change == ListChange::Add;
        list.check_room(report.added)?;
        if let Some(few) = few_of(numbers) {
            report.pools = self.change_singly(list, few, on).report();
            return Ok(());
        }
        let _bulk = shared.begin_bulk();
        // All that is given goes onto the list, also what is on it: an exchange of the set that is under way may
        // be about to take it off. Nothing is taken off that is not there.
        let given = || -> Box<dyn Iterator<Item = NumberRange>> {
            if on {
                return numbers.ranges();
            }
            Box::new(effect(change, &before, numbers, true).map(|(range, _)| range))
        };
        for range in given() {
            let mut records = list.change(range, on, shared.clock.now()).peekable();
            while records.peek().is_some() {
                let burst = records.by_ref().take(BURST_RECORDS as usize);
                shared.operate(|slot| {
                    let changing = shared.journal.change(slot);
                    burst.for_each(|record| changing.record_list(record));
                });
            }
        }
        // After the list has changed: a pool that begins to use it later sees the change.
        let mut effects = Effects::new(lists, list);
        lists.refresh_all(shared, list, given(), &mut effects);
        report.pools = effects.report();
        Ok(())
    }

    /// Puts numbers onto a list, or takes them off, one by one.
    fn change_singly(&self, list: &List, numbers: Vec<Number>, on: bool) -> Effects {
        let (shared, lists) = (&self.shared, &self.shared.lists);
        let mut effects = Effects::new(lists, list);
        for number in numbers.into_iter().filter(|number| on || list.contains(*number)) {
            effects.add(shared.operate(|slot| {
                let changing = shared.journal.change(slot);
                lists.change_one(list, (number, on), slot, shared.clock.now(), &changing)
            }));
        }
        effects
    }

    /// Changes a list by writing its set anew.
    fn exchange(
        &self,
        list: &List,
        change: ListChange,
        numbers: &Numbers,
        report: &mut ListReport,
    ) -> Result<(), ListError> {
        let (shared, lists) = (&self.shared, &self.shared.lists);
        // Ends after the lock: it waits for the journal.
        let _bulk = shared.begin_bulk();
        let _exchanging = list.begin_exchange();
        if list.is_deleted() {
            return Err(NoSuchList(list.name).into());
        }
        let before = list.snapshot();
        match change {
            ListChange::Replace => list.write_set(shared, &before, numbers.ranges())?,
            ListChange::Add | ListChange::Remove => {
                let on = change == ListChange::Add;
                let ranges = changed(before.ranges(), numbers.ranges().map(|range| (range, on)));
                list.write_set(shared, &before, ranges)?;
            }
        }
        let mut effects = Effects::new(lists, list);
        let changes = counted(effect(change, &before, numbers, false), report);
        lists.refresh_all(shared, list, changes.map(|(range, _)| range), &mut effects);
        report.pools = effects.report();
        if report.added + report.removed > 0 {
            list.set_changed_at(shared.clock.now());
        }
        Ok(())
    }
}
