//! What a source of numbers would become, without a change: for people who want to look before they load.

use std::collections::BTreeMap;

use crate::engine::pool::Pool;
use crate::engine::registry::Engine;
use crate::engine::shared::Shared;
use crate::numbers::list::country;
use crate::numbers::number::{Number, NumberRange};

use super::import::{ImportError, ImportReport, NumberSource, Numbers};

/// What a source contains.
#[derive(Debug)]
pub struct Preview {
    /// Its counts, and the survey of its lines.
    pub loaded: ImportReport,
    /// Its lowest number.
    pub first: Number,
    /// Its highest number.
    pub last: Number,
    /// How many numbers begin with which country code; `None` for those that begin with none.
    pub country_codes: BTreeMap<Option<u16>, u64>,
    /// How many of the numbers the pool does not have.
    pub missing: u64,
}

impl Engine {
    /// What a new pool would contain.
    pub fn preview(&self, source: NumberSource<'_>) -> Result<Preview, ImportError> {
        preview(source.with_states(self.now()), &self.shared, NumberRange::len)
    }
}

impl Pool {
    /// What would be added to the pool.
    pub fn preview(&self, source: NumberSource<'_>) -> Result<Preview, ImportError> {
        let segments = self.segments.load_full();
        let missing = |range| segments.missing(range).into_iter().map(NumberRange::len).sum();
        preview(source, &self.shared, missing)
    }
}

fn preview(
    source: NumberSource<'_>,
    shared: &Shared,
    missing_of: impl Fn(NumberRange) -> u64,
) -> Result<Preview, ImportError> {
    let numbers = Numbers::read(source, shared)?;
    let (mut first, mut last) = (Number::MAX, Number::MIN);
    let (mut country_codes, mut missing) = (BTreeMap::new(), 0);
    for range in numbers.ranges() {
        first = first.min(range.first());
        last = range.last();
        missing += missing_of(range);
        for (code, part) in country::countries(range) {
            *country_codes.entry(code).or_insert(0) += part.len();
        }
    }
    Ok(Preview { loaded: numbers.loaded(), first, last, country_codes, missing })
}
