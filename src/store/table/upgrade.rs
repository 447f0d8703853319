//! Tables whose words have no attempts, as allotd wrote them once.
//!
//! They are read into memory as the words that they are now. When such a table is activated, it is written anew:
//! first all words to a file of their own, durably; then the checksums are replaced by those of that file, which
//! decides; then it is renamed over the old one. A process that ends in between leaves a table that can be read:
//! with the old checksums the old words count, with the new ones those of the new file, as long as it is there.
//! The journal's records of both layouts fit, since each says which it has.

use std::io;
use std::path::PathBuf;

use crate::coordinates::{self, Rank};
use crate::disk::device::Access;
use crate::disk::files;
use crate::disk::mapping::{MappedWords, Sharing};
use crate::state::block::BLOCK_WORDS;
use crate::state::word_table::WordTable;
use crate::sys::parallel;

use super::word_checksums::{self, Kind, Layout};
use super::{TableFile, TablePaths, given_words};

/// Fewest words that a thread changes.
const MIN_WORDS_PER_THREAD: u32 = 1 << 20;

impl TablePaths {
    /// Where the words are until they take the place of the old ones.
    pub(crate) fn upgraded(&self) -> PathBuf {
        self.words.with_extension("upgraded")
    }
}

/// The file that has the words.
pub(super) fn words_path(paths: &TablePaths, layout: Layout) -> PathBuf {
    let upgraded = paths.upgraded();
    if layout == Layout::WithAttempts && upgraded.exists() { upgraded } else { paths.words.clone() }
}

/// Makes words that were read from a file without attempts those that they are now.
pub(super) fn in_memory(words: &WordTable<MappedWords>) {
    let parts = parallel::parts(words.len(), MIN_WORDS_PER_THREAD, BLOCK_WORDS);
    parallel::for_each(parts, |ranks| words.add_attempts(Rank(ranks.start)..Rank(ranks.end)));
}

impl TableFile {
    /// Writes the table anew if its words are of the old layout. Returns the words to use.
    pub(super) fn finish_upgrade(
        &mut self,
        words: WordTable<MappedWords>,
    ) -> io::Result<WordTable<MappedWords>> {
        let upgraded = self.paths.upgraded();
        if self.layout == Layout::WithAttempts {
            if upgraded.exists() {
                files::rename_durably(&*self.disk, &upgraded, &self.paths.words)?;
            }
            return Ok(words);
        }
        match self.disk.remove_file(&upgraded) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let all = coordinates::each(&(Rank(0)..Rank(self.len))).map(|rank| words.get(rank));
        let (sums, max_generation) = given_words::create_words(&*self.disk, &upgraded, self.len, all)?;
        files::sync_parent(&*self.disk, &upgraded)?;
        let mut written = self.lock();
        (written.sums, written.max_generation) = (sums, max_generation);
        let content = word_checksums::whole_file(self.len, Kind::Exact, max_generation, &written.sums);
        drop(written);
        files::replace_file(&*self.disk, &self.paths.sums, &content)?;
        files::rename_durably(&*self.disk, &upgraded, &self.paths.words)?;
        (self.kind, self.layout) = (Kind::Exact, Layout::WithAttempts);
        self.sums = Some(self.disk.open(&self.paths.sums, Access::Buffered)?);
        self.words = self.disk.open(&self.paths.words, Access::Buffered)?;
        let mapped = MappedWords::open(&self.paths.words, self.len, Sharing::Private)?;
        mapped.populate();
        Ok(WordTable::new(mapped))
    }
}
