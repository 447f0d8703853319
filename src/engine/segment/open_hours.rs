//! The numbers of a pool that its hours leave open, as ranks: a lease chooses among them as it chooses in the
//! whole pool.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::coordinates::Rank;
use crate::domain::zone_table::SetIndex;
use crate::engine::calendar::{Calendar, ZoneStates};
use crate::numbers::number::NumberRange;
use crate::numbers::set::run::SetId;
use crate::state::time::Timestamp;

use super::numbers::SegmentNumbers;
use super::spans::{SegmentIndex, Spans};

/// One segment as this module sees it.
pub(super) struct Zoned<'a> {
    pub(super) set: &'a SegmentNumbers,
    /// Where its ranks in use end.
    pub(super) end: Rank,
}

/// Ranks of numbers with the same time zones; `None` for numbers without any.
#[derive(Debug, Clone)]
struct ZonedRanks {
    ranks: Range<Rank>,
    set: Option<SetIndex>,
}

/// The ranks of a segment by time zones, ascending, and where they end.
type OfSegment = (SetId, Rank, Arc<[ZonedRanks]>);

/// What is open up to some time.
struct Window {
    spans: Spans,
    until: Timestamp,
    zones: ZoneStates,
}

/// The open numbers of a pool, now and after the next change.
///
/// The change after the present one is made ahead, so that a lease passes from one to the other by its own
/// look at the clock. Time never runs back, so what is over is never used again.
pub(crate) struct OpenNumbers {
    calendar: Arc<Calendar>,
    of_segments: Vec<OfSegment>,
    present: Window,
    next: Window,
    opens_at: OnceLock<Option<Timestamp>>,
}

impl OpenNumbers {
    /// Of some segments. What `before` knows of them is used again.
    pub(super) fn new<'a>(
        calendar: &Arc<Calendar>,
        segments: impl Iterator<Item = Zoned<'a>>,
        receiving: Option<SegmentIndex>,
        before: Option<&Self>,
    ) -> Self {
        let before = before.filter(|before| Arc::ptr_eq(&before.calendar, calendar));
        let of_segments: Vec<OfSegment> = segments
            .map(|segment| {
                let mut known = before.iter().flat_map(|before| &before.of_segments);
                match known.find(|(id, end, _)| (*id, *end) == (segment.set.id(), segment.end)) {
                    Some(known) => known.clone(),
                    None => (segment.set.id(), segment.end, zoned_ranks(calendar, &segment)),
                }
            })
            .collect();
        let now = calendar.now();
        let zones = match before {
            Some(before) => calendar.later(&before.present.zones, now),
            None => calendar.states(now),
        };
        let window = |zones: ZoneStates| Window {
            spans: spans(calendar, &of_segments, &zones, receiving),
            until: zones.until(),
            zones,
        };
        let present = window(zones);
        let next = window(calendar.later(&present.zones, present.until));
        Self { calendar: Arc::clone(calendar), of_segments, present, next, opens_at: OnceLock::new() }
    }

    pub(crate) fn calendar(&self) -> &Arc<Calendar> {
        &self.calendar
    }

    /// Whether the first of the two changes has come.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        now >= self.present.until
    }

    /// What is open now; `None` if the clock has gone on beyond both changes.
    #[inline]
    pub(crate) fn at(&self, now: Timestamp) -> Option<&Spans> {
        [&self.present, &self.next].into_iter().find(|window| now < window.until).map(|window| &window.spans)
    }

    /// When the next of the numbers open that are closed at present. `None` if none are, or that is far away.
    pub(crate) fn opens_at(&self) -> Option<Timestamp> {
        *self.opens_at.get_or_init(|| {
            let ranks = self.of_segments.iter().flat_map(|(_, _, ranks)| ranks.iter());
            let mut closed: Vec<_> = ranks
                .map(|zoned| zoned.set)
                .filter(|set| !self.calendar.is_open(&self.present.zones, *set))
                .collect();
            closed.sort_unstable();
            closed.dedup();
            self.calendar.opens_at(&self.present.zones, &closed)
        })
    }

    /// How many numbers are open at a time, and when that changes.
    pub(crate) fn open_at(&self, time: Timestamp, receiving: Option<SegmentIndex>) -> (u64, Timestamp) {
        let zones = self.calendar.states(time);
        let spans = spans(&self.calendar, &self.of_segments, &zones, receiving);
        (spans.numbers(), zones.until())
    }
}

/// The ranks of a segment by time zones.
fn zoned_ranks(calendar: &Calendar, segment: &Zoned<'_>) -> Arc<[ZonedRanks]> {
    let mut found: Vec<ZonedRanks> = Vec::new();
    if let (Some(table), Some((first, last))) = (calendar.table(), segment.set.span())
        && let Ok(span) = NumberRange::new(first, last)
    {
        for (range, set) in table.ranges_in(span) {
            let known = |ranks: Range<Rank>| ranks.start..ranks.end.min(segment.end);
            let ranks = segment.set.rank_ranges(*range).map(known).filter(|ranks| !ranks.is_empty());
            found.extend(ranks.map(|ranks| ZonedRanks { ranks, set: Some(*set) }));
        }
    }
    // The ranks of a segment that grows are not in the order of the numbers.
    found.sort_unstable_by_key(|zoned| zoned.ranks.start);
    let mut all: Vec<ZonedRanks> = Vec::new();
    let mut add = |zoned: ZonedRanks| match all.last_mut() {
        _ if zoned.ranks.is_empty() => {}
        Some(last) if last.set == zoned.set && last.ranks.end == zoned.ranks.start => {
            last.ranks.end = zoned.ranks.end;
        }
        _ => all.push(zoned),
    };
    let mut next = Rank(0);
    for zoned in found {
        let end = zoned.ranks.end;
        add(ZonedRanks { ranks: next..zoned.ranks.start, set: None });
        add(zoned);
        next = end;
    }
    add(ZonedRanks { ranks: next..segment.end, set: None });
    all.into()
}

/// The ranks that are open.
fn spans(
    calendar: &Calendar,
    of_segments: &[OfSegment],
    zones: &ZoneStates,
    receiving: Option<SegmentIndex>,
) -> Spans {
    let mut open: Vec<(SegmentIndex, Range<Rank>)> = Vec::new();
    for (index, (_, _, ranks)) in (0..).map(SegmentIndex).zip(of_segments) {
        for zoned in ranks.iter().filter(|zoned| calendar.is_open(zones, zoned.set)) {
            match open.last_mut() {
                Some((last, ranks)) if *last == index && ranks.end == zoned.ranks.start => {
                    ranks.end = zoned.ranks.end;
                }
                _ => open.push((index, zoned.ranks.clone())),
            }
        }
    }
    Spans::new(open.into_iter(), receiving)
}
