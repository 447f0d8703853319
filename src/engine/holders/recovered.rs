//! Collects the names of holders from the journal and from the file of names.

use std::collections::HashMap;

use crate::domain::holder::{HolderName, MAX_HOLDER_BYTES};
use crate::journal::record::{HOLDER_PART_BYTES, HolderRecord};
use crate::state::holder_column::HolderId;

/// A name, as far as its records were read.
struct Collected {
    text: Box<[u8]>,
    /// A bit per part.
    parts: u16,
    has_returned: bool,
}

/// The holders of one pool.
#[derive(Default)]
pub(crate) struct RecoveredHolders {
    names: HashMap<HolderId, Collected>,
    /// The largest id that was given out.
    last: HolderId,
}

/// A name that was read, with its id and whether it has returned something.
pub(crate) struct RecoveredHolder {
    pub(crate) id: HolderId,
    pub(crate) name: HolderName,
    pub(crate) has_returned: bool,
}

impl RecoveredHolders {
    /// Adds a record.
    pub(crate) fn take(&mut self, record: &HolderRecord) {
        if !record.is_name() {
            return self.has_seen(HolderId(record.holder.0.saturating_sub(1)));
        }
        self.has_seen(record.holder);
        let len = record.name_bytes();
        let (start, text) = record.text();
        if len > MAX_HOLDER_BYTES || start >= len {
            return;
        }
        let name = self.names.entry(record.holder).or_insert_with(|| Collected {
            text: vec![0; len].into(),
            parts: 0,
            has_returned: false,
        });
        if let Some(place) = name.text.get_mut(start..start + text.len()) {
            place.copy_from_slice(text);
            name.parts |= 1 << (start / HOLDER_PART_BYTES);
        }
        name.has_returned |= record.has_returned();
    }

    /// Notes that an id is in use somewhere.
    pub(crate) fn has_seen(&mut self, id: HolderId) {
        self.last = self.last.max(id);
    }

    /// Notes that a holder has returned something.
    pub(crate) fn has_returned(&mut self, id: HolderId) {
        if let Some(name) = self.names.get_mut(&id) {
            name.has_returned = true;
        }
    }

    /// The next id that may be given out.
    pub(crate) fn next(&self) -> HolderId {
        HolderId(self.last.0 + 1)
    }

    /// The name of a holder, if it was read as a whole.
    pub(crate) fn name(&self, id: HolderId) -> Option<String> {
        let name = self.names.get(&id)?;
        let parts = name.text.len().div_ceil(HOLDER_PART_BYTES) as u32;
        let is_whole = name.parts.count_ones() == parts;
        String::from_utf8(name.text.to_vec()).ok().filter(|_| is_whole)
    }

    /// The names that were read as a whole, the latest ids first: a name that was forgotten and came back has
    /// several.
    pub(crate) fn into_names(self) -> Vec<RecoveredHolder> {
        let whole = |(id, name): (HolderId, Collected)| {
            let parts = name.text.len().div_ceil(HOLDER_PART_BYTES) as u32;
            let is_whole = name.parts.count_ones() == parts;
            let text = String::from_utf8(name.text.into()).ok().filter(|_| is_whole)?;
            Some(RecoveredHolder { id, name: text.parse().ok()?, has_returned: name.has_returned })
        };
        let mut names: Vec<_> = self.names.into_iter().filter_map(whole).collect();
        names.sort_unstable_by_key(|holder| std::cmp::Reverse(holder.id));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_when_all_its_parts_are_there_in_any_order() {
        let mut recovered = RecoveredHolders::default();
        let records = |id, name: &str| HolderRecord::of(1, HolderId(id), name, false).collect::<Vec<_>>();
        let long = "long ".repeat(20);
        let mut parts = records(4, &long);
        parts.reverse();
        let (whole, torn) = (records(2, "c-17"), records(3, &long));
        for record in parts.iter().chain(&parts).chain(&whole).chain(&torn[1..]) {
            recovered.take(record);
        }
        recovered.has_returned(HolderId(2));
        recovered.take(&HolderRecord::given_out(1, HolderId(9)));
        assert_eq!(recovered.next(), HolderId(9));
        recovered.has_seen(HolderId(30));
        assert_eq!(recovered.next(), HolderId(31));
        let names = recovered.into_names();
        let names: Vec<_> = names.iter().map(|h| (h.id.0, h.name.as_str(), h.has_returned)).collect();
        assert_eq!(names, [(4, long.as_str(), false), (2, "c-17", true)]);
    }
}
