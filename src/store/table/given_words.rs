//! Creates the files of a table whose words are given.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::disk::device::Disk;
use crate::disk::files;
use crate::disk::mapping::WORD_BYTES;
use crate::disk::paced::PART_BYTES;
use crate::disk::sequential::SequentialWriter;
use crate::state::word::Word;

use super::TablePaths;
use super::word_checksums::{self, Kind, SECTOR_BYTES};

/// Creates the files of a table of `len` words, durably, as a checkpoint would leave them.
pub(crate) fn create(
    disk: &dyn Disk,
    paths: &TablePaths,
    len: u32,
    words: impl Iterator<Item = Word>,
) -> io::Result<()> {
    let (sums, max_generation) = create_words(disk, &paths.words, len, words)?;
    let file = disk.create(&paths.sums)?;
    disk.write_at(&file, &word_checksums::whole_file(len, Kind::Exact, max_generation, &sums), 0)?;
    disk.sync(&file)
}

/// Creates a file of `len` words, durably. Returns the checksums of its sectors and the largest generation.
pub(super) fn create_words(
    disk: &dyn Disk,
    path: &Path,
    len: u32,
    words: impl Iterator<Item = Word>,
) -> io::Result<(Vec<u32>, u32)> {
    let file = disk.create(path)?;
    files::allocate(disk, &file, u64::from(len) * WORD_BYTES)?;
    let mut out = BufWriter::with_capacity(PART_BYTES, SequentialWriter::new(disk, &file));
    let mut sums = Vec::with_capacity(word_checksums::sectors(len) as usize);
    let mut sector = Vec::with_capacity(SECTOR_BYTES);
    let (mut max_generation, mut written) = (0, 0);
    for word in words {
        max_generation = max_generation.max(word.generation());
        written += 1;
        sector.extend_from_slice(&word.bits().to_le_bytes());
        if sector.len() == SECTOR_BYTES || written == len {
            sums.push(crc32c::crc32c(&sector));
            out.write_all(&sector)?;
            sector.clear();
        }
    }
    if written != len {
        return Err(io::Error::other(format!("there are {written} words for {len} numbers")));
    }
    out.flush()?;
    drop(out);
    disk.sync(&file)?;
    Ok((sums, max_generation))
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;
    use crate::coordinates::Rank;
    use crate::disk::device::RealDisk;
    use crate::disk::mapping::Sharing;
    use crate::journal::on_damage::OnDamage;
    use crate::state::floors::Floors;
    use crate::state::time::Timestamp;
    use crate::store::table::TableFile;
    use crate::store::table::word_checksums::Layout;

    #[test]
    fn the_words_are_there_and_a_flip_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let paths = TablePaths { words: dir.path().join("words"), sums: dir.path().join("sums") };
        let word = |rank: u32| Word::NEW.lease(Timestamp::new(rank), Floors::NONE).unwrap();
        let open = || {
            let (private, refuse) = (Sharing::Private, OnDamage::Refuse);
            TableFile::open(&files::real(), &paths, 1_000, private, refuse, Layout::WithAttempts).unwrap()
        };
        create(&RealDisk, &paths, 1_000, (0..1_000).map(word)).unwrap();
        let opened = open();
        assert!((0..1_000).all(|rank| opened.words.get(Rank(rank)) == word(rank)));
        assert_eq!((opened.max_generation, opened.damaged.len()), (Some(1), 0));
        let mut content = std::fs::read(&paths.words).unwrap();
        content[7_999] ^= 1;
        std::fs::write(&paths.words, content).unwrap();
        assert_eq!(open().damaged.len(), 1);
    }

    #[test]
    fn other_counts_are_refused() {
        for words in [9, 11] {
            let dir = tempfile::tempdir().unwrap();
            let paths = TablePaths { words: dir.path().join("words"), sums: dir.path().join("sums") };
            assert!(create(&RealDisk, &paths, 10, (0..words).map(|_| Word::NEW)).is_err());
        }
    }
}
