//! Activates pools whose files are open and over which the journal was replayed.

use std::sync::Arc;

use crate::coordinates;
use crate::disk::device::Disk;
use crate::domain::counts::Counts;
use crate::domain::lease_token::Epoch;
use crate::engine::open_report::OpenReport;
use crate::engine::pool::{Pool, Pools};
use crate::engine::segment::Segments;
use crate::engine::segment::holders::FoundHolders;
use crate::engine::segment::opened_files::OpenedSegment;
use crate::engine::segment::plausible::Plausible;
use crate::engine::shared::Shared;
use crate::journal::recovery::Recovered;
use crate::store::manifest::Manifest;
use crate::store::open_error::OpenError;
use crate::store::pool_dir::remove_strays;
use crate::store::staging;
use crate::store::totals_file::{AllTotals, PoolTotals};

use super::config::{EngineConfig, Membership};
use super::given_up;
use super::opened_pools::OpenedPools;

impl OpenedPools {
    /// Begins an epoch of tokens in each pool of which confirmed leases may be unknown: it was restored, the
    /// journal is damaged, or the machine lost its power, with which unsynced changes go too.
    pub(crate) fn begin_epochs(
        &mut self,
        config: &EngineConfig,
        journal: &Recovered,
    ) -> Result<(), OpenError> {
        let boot_id = config.clocks.boot_id();
        let lost_power = |(_, last_boot): &(_, [u8; 16])| *last_boot != boot_id || boot_id == [0; 16];
        let is_lost = match config.membership {
            Membership::Single => {
                let lost_power = journal.last.as_ref().is_some_and(lost_power);
                !journal.damage.is_empty() || (!journal.clean && lost_power)
            }
            // The log has what is not here.
            Membership::Following => return Ok(()),
            Membership::Leading(_) => !journal.damage.is_empty(),
        };
        for raw in &mut self.pools {
            let segments = raw.segments.iter().zip(&raw.journaled);
            if is_lost || raw.manifest.begins_epoch || raw.segments.iter().any(|s| !s.damaged().is_empty()) {
                let largest = segments.map(|(segment, journaled)| segment.largest_generation(*journaled));
                let floor = largest.max().unwrap_or(0);
                let written = staging::random_id().and_then(|id| {
                    raw.manifest.begin_epoch(Epoch { floor, id });
                    raw.manifest.write(&*config.disk, &raw.dir)
                });
                written.map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
            }
        }
        Ok(())
    }

    /// Pauses all pools: numbers that seem available may have been leased in a lost part of the journal.
    fn pause(&mut self, disk: &dyn Disk, report: &mut OpenReport) -> Result<(), OpenError> {
        for raw in &mut self.pools {
            raw.manifest.set_paused(true, None);
            let written = raw.manifest.write(disk, &raw.dir);
            written.map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
            report.paused.push(raw.name.clone());
        }
        Ok(())
    }

    /// Notes which pools a restore paused, or resumes them if that was asked for.
    fn tell_pauses(&mut self, config: &EngineConfig, report: &mut OpenReport) -> Result<(), OpenError> {
        for raw in &mut self.pools {
            let Some(until) = raw.manifest.paused_until() else { continue };
            if config.serve_at_once {
                raw.manifest.set_paused(false, None);
                let written = raw.manifest.write(&*config.disk, &raw.dir);
                written.map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
            } else {
                report.restored.push((raw.name.clone(), until));
            }
        }
        Ok(())
    }

    /// Activates the pools. Reports damage before it changes anything.
    pub(crate) fn activate(
        mut self,
        shared: &Arc<Shared>,
        config: &EngineConfig,
        kept: &AllTotals,
        report: &mut OpenReport,
    ) -> Result<Pools, OpenError> {
        for raw in &self.pools {
            let plausible = Plausible::new(shared.clock.now(), raw.manifest.round);
            let (mut count, mut repaired, mut without_holders) = (0, 0, 0);
            let mut numbers = Vec::new();
            for (segment, journaled) in raw.segments() {
                let settled = segment.resolve_damage(&raw.dir, plausible, journaled, config.on_damage())?;
                count += settled.given_up.len() as u64;
                numbers.append(&mut given_up::ranges(&settled.given_up, |rank| segment.number(rank)));
                repaired += settled.repaired;
                report.checksums_renewed.extend(segment.sums_damage().map(ToString::to_string));
                if let Some(holders) = segment.holders() {
                    report.checksums_renewed.extend(holders.sums_damage.as_ref().map(ToString::to_string));
                    without_holders +=
                        holders.damaged().iter().map(|r| u64::from(coordinates::count(r))).sum::<u64>();
                }
            }
            if count > 0 {
                report.given_up.push((raw.name.clone(), count));
                numbers.sort_unstable_by_key(|range| range.first());
                let now = shared.clock.now();
                let file = given_up::write(&*config.disk, &config.data_dir, &raw.name, now, &numbers)?;
                report.given_up_numbers.push((raw.name.clone(), numbers));
                report.given_up_files.push(file);
            }
            if without_holders > 0 {
                report.holders_lost.push((raw.name.clone(), without_holders));
            }
            if repaired > 0 {
                report.repaired.push((raw.name.clone(), repaired));
            }
        }
        if !report.journal.damage.is_empty() {
            self.pause(&*config.disk, report)?;
        }
        self.tell_pauses(config, report)?;
        let mut pools = Pools::new();
        let none = PoolTotals::default();
        let mut holders = std::mem::take(&mut self.holders);
        for raw in self.pools {
            let (mut counts, mut list) = (Counts::default(), Vec::new());
            for segment in complete_merges(&raw.manifest, raw.segments) {
                let begun = segment.activate(shared.slots);
                let (segment, found) = begun.map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
                counts.merge(found);
                list.push(Arc::new(segment));
            }
            // The manifest that names the latest files may still be to come from the log.
            if !matches!(config.membership, Membership::Following) {
                remove_strays(&*config.disk, &raw.dir, &raw.manifest)
                    .map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
            }
            let name = raw.name.to_string();
            let segments = Segments::new(list);
            let kept = kept.get(&raw.manifest.pool_id()).unwrap_or(&none);
            let zones = raw.manifest.zones.map(|zones| zones.read(&raw.dir)).transpose()?;
            let mut manifest = raw.manifest;
            let drops_lists = shared.lists.drop_missing(&mut manifest, &name, config.on_damage())?;
            if drops_lists {
                report.paused.push(raw.name.clone());
            }
            // The tables have been written anew by now.
            let is_older = std::mem::take(&mut manifest.is_without_attempts);
            if drops_lists || is_older {
                let written = manifest.write(&*config.disk, &raw.dir);
                written.map_err(|error| OpenError::Io(raw.dir.clone(), error))?;
            }
            let settings = manifest.settings.clone();
            let mut recovered = holders.remove(&manifest.pool_id()).unwrap_or_default();
            let mut found = FoundHolders::default();
            for segment in &segments.list {
                found.add(segment);
            }
            recovered.has_seen(found.last);
            let pool = Pool::new(raw.name, raw.dir, shared.clone(), manifest, segments, counts, kept);
            pool.holders.start_from(recovered.next());
            if settings.holders {
                pool.holders.restore(recovered.into_names(), &found.leases);
            }
            pool.set_zones(zones.map(Arc::new));
            let pool = Arc::new(pool);
            // All that they name exist.
            let _ = pool.use_lists_at_start(&settings);
            pool.finish_round();
            pools.insert(name, pool);
        }
        Ok(pools)
    }
}

/// Completes the merges that an earlier process began. Returns the segments without those that are merged:
/// their files stay until the merged segment is written to its table.
fn complete_merges(manifest: &Manifest, segments: Vec<OpenedSegment>) -> Vec<OpenedSegment> {
    let mut merged = Vec::new();
    for (target, sources) in manifest.merges() {
        let Some(target) = segments.iter().find(|segment| segment.id == target) else { continue };
        for source in segments.iter().filter(|segment| sources.contains(&segment.id)) {
            target.take_over(source);
        }
        merged.extend_from_slice(sources);
    }
    segments.into_iter().filter(|segment| !merged.contains(&segment.id)).collect()
}
