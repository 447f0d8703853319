//! The holders of a pool by their names and by their ids. Reading takes no lock.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arc_swap::ArcSwap;
use siphasher::sip::SipHasher13;

use crate::domain::holder::HolderName;
use crate::domain::lease_token::SECRET_BYTES;
use crate::state::holder_column::HolderId;

use super::holder::Holder;

/// Maps that share the names.
const SHARDS: usize = if cfg!(allotd_shuttle) { 2 } else { 256 };

/// Spreads numbers that are hashes or ids over a map.
#[derive(Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

pub(super) type Map = HashMap<u64, Arc<Holder>, BuildHasherDefault<Spread>>;
type Shards = Box<[ArcSwap<Map>]>;

/// The names of a pool that tracks holders.
pub(super) struct Names {
    hasher: SipHasher13,
    /// By hash; of two names with one hash the later has the next number that is free.
    by_name: Shards,
    by_id: Shards,
}

impl Names {
    pub(super) fn new(secret: &[u8; SECRET_BYTES]) -> Self {
        let none = Arc::new(Map::default());
        let shards = || (0..SHARDS).map(|_| ArcSwap::new(Arc::clone(&none))).collect();
        Self { hasher: SipHasher13::new_with_key(secret), by_name: shards(), by_id: shards() }
    }

    #[inline]
    fn hash(&self, name: &HolderName) -> u64 {
        let mut hasher = self.hasher;
        hasher.write(name.as_str().as_bytes());
        hasher.finish()
    }

    #[inline]
    fn named(&self, hash: u64) -> &ArcSwap<Map> {
        &self.by_name[(hash >> u32::BITS) as usize % SHARDS]
    }

    #[inline]
    pub(super) fn numbered(&self, id: HolderId) -> &ArcSwap<Map> {
        &self.by_id[id.0 as usize % SHARDS]
    }

    #[inline]
    pub(super) fn find(&self, name: &HolderName) -> Option<Arc<Holder>> {
        let mut hash = self.hash(name);
        let named = self.named(hash).load();
        loop {
            let holder = named.get(&hash)?;
            if holder.name == *name {
                return Some(Arc::clone(holder));
            }
            hash = next(hash);
        }
    }

    /// Adds a holder. One thread at a time.
    pub(super) fn insert(&self, holder: &Arc<Holder>) {
        let put = |shard: &ArcSwap<Map>, key: u64| {
            let mut map = Map::clone(&shard.load());
            map.insert(key, Arc::clone(holder));
            shard.store(Arc::new(map));
        };
        // By its id first: whoever finds it by its name may lease for it.
        put(self.numbered(holder.id), holder.id.0);
        let mut hash = self.hash(&holder.name);
        let shard = self.named(hash);
        while shard.load().contains_key(&hash) {
            hash = next(hash);
        }
        put(shard, hash);
    }

    /// Removes the holders that were forgotten. One thread at a time.
    pub(super) fn remove_forgotten(&self) {
        let is_forgotten = |holder: &Arc<Holder>| holder.is_forgotten();
        for shard in &self.by_id {
            let map = shard.load();
            if map.values().any(is_forgotten) {
                let kept = map.iter().filter(|(_, holder)| !is_forgotten(holder));
                shard.store(Arc::new(kept.map(|(key, holder)| (*key, Arc::clone(holder))).collect()));
            }
        }
        for shard in &self.by_name {
            let map = shard.load();
            if map.values().any(is_forgotten) {
                let mut kept = Map::default();
                for holder in map.values().filter(|holder| !is_forgotten(holder)) {
                    let mut hash = self.hash(&holder.name);
                    while kept.contains_key(&hash) {
                        hash = next(hash);
                    }
                    kept.insert(hash, Arc::clone(holder));
                }
                shard.store(Arc::new(kept));
            }
        }
    }

    pub(super) fn each(&self, mut each: impl FnMut(&Arc<Holder>)) {
        for shard in &self.by_id {
            shard.load().values().for_each(&mut each);
        }
    }
}

/// The hash to try after this one. The shard stays the same.
fn next(hash: u64) -> u64 {
    hash & !u64::from(u32::MAX) | u64::from((hash as u32).wrapping_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_one_hash_are_told_apart() {
        let names = Names::new(&[1; SECRET_BYTES]);
        for shard in &names.by_name {
            // As if all names had the hashes that they get in order.
            assert!(shard.load().is_empty());
        }
        let mut all = Vec::new();
        for index in 1..2_000_u64 {
            let name: HolderName = format!("holder {index}").parse().unwrap();
            names.insert(&Arc::new(Holder::new(HolderId(index), name.clone(), 0, false, true)));
            all.push(name);
        }
        for (index, name) in (1..).zip(&all) {
            assert_eq!(names.find(name).map(|holder| holder.id), Some(HolderId(index)));
        }
        assert!(names.find(&"holder 0".parse().unwrap()).is_none());
    }
}
