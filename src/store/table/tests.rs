use std::path::Path;

use crate::disk::device::RealDisk;

use super::*;
use crate::state::floors::Floors;
use crate::state::time::Timestamp;
use crate::state::word::Word;
use crate::store::table::word_checksums::SECTOR_WORDS;

const LEN: u32 = 5_000;

fn table(dir: &Path) -> TablePaths {
    let paths = TablePaths { words: dir.join("words"), sums: dir.join("sums") };
    TableFile::create(&RealDisk, &paths, LEN).unwrap();
    paths
}

fn just_open(paths: &TablePaths, sharing: Sharing) -> Result<OpenedTable, SegmentError> {
    TableFile::open(&files::real(), paths, LEN, sharing, OnDamage::Refuse, Layout::WithAttempts)
}

fn open(paths: &TablePaths, sharing: Sharing) -> OpenedTable {
    let mut opened = just_open(paths, sharing).unwrap();
    opened.words = opened.file.activate(opened.words, &DirtyBlocks::new(LEN)).unwrap();
    opened
}

fn lease(opened: &OpenedTable, dirty: &DirtyBlocks, rank: Rank) {
    opened.words.update(rank, |word| word.lease(Timestamp::new(9), Floors::NONE)).unwrap();
    dirty.mark(rank);
}

#[test]
fn a_checkpoint_writes_what_changed_and_every_flip_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let paths = table(dir.path());
    let (opened, dirty) = (open(&paths, Sharing::Private), DirtyBlocks::new(LEN));
    for rank in [0, 70, 4_999].map(Rank) {
        lease(&opened, &dirty, rank);
    }
    opened.file.checkpoint(&opened.words, &dirty, None, &|_| ()).unwrap();
    lease(&opened, &dirty, Rank(100));
    drop(opened);
    let opened = open(&paths, Sharing::Private);
    assert_eq!((opened.damaged.len(), opened.max_generation), (0, Some(1)));
    let leased: Vec<u32> = (0..LEN).filter(|rank| opened.words.get(Rank(*rank)) != Word::NEW).collect();
    assert_eq!(leased, [0, 70, 4_999], "changes after the checkpoint are only in the journal");
    drop(opened);
    let content = std::fs::read(&paths.words).unwrap();
    for at in (0..content.len()).step_by(97) {
        let mut flipped = content.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&paths.words, flipped).unwrap();
        let rank = at as u32 / 8;
        let damaged = open(&paths, Sharing::Private).damaged;
        assert_eq!(damaged, [word_checksums::ranks_of(rank / SECTOR_WORDS, LEN)], "byte {at}");
    }
}

#[test]
fn either_checksum_will_do_and_flips_of_them_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let paths = table(dir.path());
    let (opened, dirty) = (open(&paths, Sharing::Private), DirtyBlocks::new(LEN));
    let old = std::fs::read(&paths.words).unwrap();
    lease(&opened, &dirty, Rank(3));
    opened.file.checkpoint(&opened.words, &dirty, None, &|_| ()).unwrap();
    drop(opened);
    let new = std::fs::read(&paths.words).unwrap();
    std::fs::write(&paths.words, old).unwrap();
    assert!(open(&paths, Sharing::Private).damaged.is_empty(), "as before the checkpoint");
    std::fs::write(&paths.words, new).unwrap();
    let content = std::fs::read(&paths.sums).unwrap();
    for (at, found) in [(8, true), (24, true), (4_096, false), (4_100, true), (4_104, false)] {
        let mut flipped = content.clone();
        flipped[at] ^= 0x10;
        std::fs::write(&paths.sums, flipped).unwrap();
        let opened = just_open(&paths, Sharing::Private);
        assert_eq!(opened.map_or(1, |opened| opened.damaged.len()), usize::from(found), "byte {at}");
    }
}

#[test]
fn a_shared_table_is_vouched_for_only_after_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let paths = table(dir.path());
    let (opened, dirty) = (open(&paths, Sharing::Shared), DirtyBlocks::new(LEN));
    lease(&opened, &dirty, Rank(3));
    let unclean = just_open(&paths, Sharing::Private).unwrap();
    assert_eq!((unclean.damaged.len(), unclean.max_generation), (0, None));
    opened.file.close(&opened.words).unwrap();
    drop(opened);
    let opened = open(&paths, Sharing::Private);
    assert_eq!((opened.damaged.len(), opened.max_generation), (0, Some(1)));
    assert_eq!(opened.words.get(Rank(3)).generation(), 1);
}
