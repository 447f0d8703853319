//! One container of a Roaring bitmap, read in place: up to 65,536 values that share their upper bits.
//!
//! The bytes may be damaged if a set is opened but not validated. Every function here then returns some
//! result, and none panics.

use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;

/// Most values of an array container; above it the format has a bitmap (`RoaringFormatSpec`).
pub(crate) const MAX_ARRAY_VALUES: u32 = 4096;
/// Bytes of a bitmap container: one bit for each of 65,536 values.
pub(crate) const BITMAP_BYTES: usize = 8192;
/// Words that are counted together: one cache line of a bitmap per sample.
const WORDS_PER_SAMPLE: usize = 8;
/// Most single steps that correct a guessed place before a binary search over everything.
const MAX_STEPS: usize = 8;
/// How far around the interpolated place an array is searched first: with evenly spread values the place is
/// wrong by about half the square root of their count, which is 32 for the fullest array.
const GUESS_SLACK: usize = 32;

/// The three encodings of a container, over its bytes.
#[derive(Clone, Copy)]
pub(crate) enum Container<'a> {
    /// Ascending values.
    Array(&'a [[u8; 2]]),
    /// 1024 words, and samples: how many bits are set before each eighth of them.
    Bitmap(&'a [[u8; 8]], &'a [AtomicU16]),
    /// Ascending runs (first value, length - 1), and samples: how many values are before each of them.
    /// As the first sample would always be 0, it holds the samples per value instead, times 2^16.
    Runs(&'a [[u8; 4]], &'a [AtomicU16]),
}

/// What is wrong inside a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Values or runs that do not ascend, runs that overlap or touch, or pass 65,535.
    Order,
    /// Another count of values than the directory states.
    Count,
}

/// Samples that a bitmap needs.
pub(crate) const BITMAP_SAMPLES: usize = BITMAP_BYTES / 8 / WORDS_PER_SAMPLE;

/// Samples that a container of `runs` runs needs: none if there is only one.
pub(crate) fn run_samples(runs: usize) -> usize {
    if runs <= 1 { 0 } else { runs }
}

/// Consecutive values: a run as it is encoded, or one value of another container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first value.
    pub(crate) low: u16,
    /// How many values of the container are below it.
    pub(crate) index: u32,
    /// The count of values; none is above 65,535.
    pub(crate) len: u32,
}

impl Run {
    fn one(low: u16, index: u32) -> Self {
        Self { low, index, len: 1 }
    }
}

impl Container<'_> {
    /// The run that contains `low`, or else the count of values below it.
    #[inline]
    pub(crate) fn find(&self, low: u16) -> Result<Run, u32> {
        match self {
            Container::Array(values) => find_in_array(values, low).map(|index| Run::one(low, index)),
            Container::Bitmap(words, samples) => {
                find_in_bitmap(words, samples, low).map(|index| Run::one(low, index))
            }
            Container::Runs(runs, samples) => find_in_runs(runs, samples, low),
        }
    }

    /// The count of values below `low`.
    pub(crate) fn count_below(&self, low: u16) -> u32 {
        self.find(low).map_or_else(|below| below, |run| run.index + u32::from(low - run.low))
    }

    /// The run of the value that has `index` values below it.
    #[inline]
    pub(crate) fn select(&self, index: u32) -> Option<Run> {
        match self {
            Container::Array(values) => {
                let low = u16::from_le_bytes(*values.get(index as usize)?);
                Some(Run::one(low, index))
            }
            Container::Bitmap(words, samples) => {
                select_in_bitmap(words, samples, index).map(|low| Run::one(low, index))
            }
            Container::Runs(runs, samples) => select_in_runs(runs, samples, index),
        }
    }

    /// Fills the samples. Two threads may do it at once: both store the same values.
    pub(crate) fn build_samples(&self) {
        let mut before = 0_u32;
        let samples = match self {
            Container::Array(_) => return,
            Container::Bitmap(words, samples) => {
                for (sample, block) in samples.iter().zip(words.chunks(WORDS_PER_SAMPLE)) {
                    sample.store(before as u16, Relaxed);
                    before += block.iter().map(|word| u64::from_le_bytes(*word).count_ones()).sum::<u32>();
                }
                samples
            }
            Container::Runs(runs, samples) => {
                for (sample, run) in samples.iter().zip(*runs) {
                    sample.store(before as u16, Relaxed);
                    before = before.wrapping_add(run_len(*run));
                }
                samples
            }
        };
        if let Some(first) = samples.first() {
            let share = ((samples.len() as u64) << 16) / u64::from(before.max(1));
            first.store(share.min(u16::MAX.into()) as u16, Relaxed);
        }
    }

    /// Checks all of it against the format and the cardinality that the directory states.
    pub(crate) fn validate(&self, cardinality: u32) -> Result<(), Fault> {
        let counted = match self {
            Container::Array(values) => {
                if !values.is_sorted_by(|a, b| u16::from_le_bytes(*a) < u16::from_le_bytes(*b)) {
                    return Err(Fault::Order);
                }
                values.len() as u64
            }
            Container::Bitmap(words, _) => {
                words.iter().map(|word| u64::from(u64::from_le_bytes(*word).count_ones())).sum()
            }
            Container::Runs(runs, _) => count_runs(runs)?,
        };
        if counted == u64::from(cardinality) { Ok(()) } else { Err(Fault::Count) }
    }

    /// A cursor at the value `low`, which has `index` values below it.
    pub(crate) fn cursor_at(&self, low: u16, index: u32) -> RunCursor {
        let item = match self {
            Container::Array(_) => index as usize,
            Container::Bitmap(..) => 0,
            Container::Runs(runs, _) => runs_started(runs, low).saturating_sub(1),
        };
        RunCursor { item, from: u32::from(low) }
    }

    /// The next run of consecutive values, first and last, at or after the cursor.
    pub(crate) fn next_run(&self, cursor: &mut RunCursor) -> Option<(u16, u16)> {
        match self {
            Container::Array(values) => {
                let rest = values.get(cursor.item..)?;
                let first = u16::from_le_bytes(*rest.first()?);
                let more = rest[1..]
                    .iter()
                    .zip(u32::from(first) + 1..)
                    .take_while(|(value, expected)| u32::from(u16::from_le_bytes(**value)) == *expected)
                    .count();
                cursor.item += more + 1;
                Some((first, first.saturating_add(more as u16)))
            }
            Container::Bitmap(words, _) => {
                let first = next_bit(words, cursor.from, 0)?;
                let end = next_bit(words, first, u64::MAX).unwrap_or(1 << 16);
                cursor.from = end;
                Some((first as u16, (end - 1) as u16))
            }
            Container::Runs(runs, _) => {
                let run = *runs.get(cursor.item)?;
                cursor.item += 1;
                let last = u32::from(run_start(run)) + run_len(run) - 1;
                let first = u32::from(run_start(run)).max(std::mem::take(&mut cursor.from));
                Some((first as u16, last.clamp(first, 0xFFFF) as u16))
            }
        }
    }
}

/// Where an iteration stands in a container.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RunCursor {
    /// Index of the next value of an array, or of the next run.
    item: usize,
    /// The iteration returns nothing below this value.
    from: u32,
}

fn find_in_array(values: &[[u8; 2]], low: u16) -> Result<u32, u32> {
    let value_at = |index: usize| u16::from_le_bytes(values[index]);
    // Evenly spread values are near their share of the array: that reads one or two cache lines instead of a
    // binary search over all of them.
    let guess = (usize::from(low) * values.len()) >> 16;
    let (mut from, mut to) = (guess.saturating_sub(GUESS_SLACK), (guess + GUESS_SLACK).min(values.len()));
    if from > 0 && value_at(from - 1) >= low {
        (from, to) = (0, from - 1);
    } else if to < values.len() && value_at(to) < low {
        (from, to) = (to + 1, values.len());
    }
    let index = from + values[from..to].partition_point(|value| u16::from_le_bytes(*value) < low);
    match values.get(index) {
        Some(value) if u16::from_le_bytes(*value) == low => Ok(index as u32),
        _ => Err(index as u32),
    }
}

fn find_in_bitmap(words: &[[u8; 8]], samples: &[AtomicU16], low: u16) -> Result<u32, u32> {
    let (word, bit) = (usize::from(low >> 6), u32::from(low & 63));
    let sample = word / WORDS_PER_SAMPLE;
    let mut below = counted_before(samples, sample);
    for word in words.get(sample * WORDS_PER_SAMPLE..word).unwrap_or_default() {
        below += u64::from_le_bytes(*word).count_ones();
    }
    let word = words.get(word).map_or(0, |word| u64::from_le_bytes(*word));
    below += (word & ((1 << bit) - 1)).count_ones();
    if word >> bit & 1 == 1 { Ok(below) } else { Err(below) }
}

#[inline]
fn find_in_runs(runs: &[[u8; 4]], samples: &[AtomicU16], low: u16) -> Result<Run, u32> {
    let Some(at) = runs_started(runs, low).checked_sub(1) else { return Err(0) };
    let run = run_at(runs[at], counted_before(samples, at));
    let into = u32::from(low - run.low);
    if into < run.len { Ok(run) } else { Err(run.index + run.len) }
}

fn select_in_bitmap(words: &[[u8; 8]], samples: &[AtomicU16], index: u32) -> Option<u16> {
    let sample = sample_of(samples, index);
    let mut left = index.checked_sub(counted_before(samples, sample))?;
    let first_word = sample * WORDS_PER_SAMPLE;
    for (word_index, word) in (first_word..).zip(words.get(first_word..first_word + WORDS_PER_SAMPLE)?) {
        let word = u64::from_le_bytes(*word);
        let ones = word.count_ones();
        if left < ones {
            return Some((word_index * 64) as u16 + select_in_word(word, left));
        }
        left -= ones;
    }
    None
}

#[inline]
fn select_in_runs(runs: &[[u8; 4]], samples: &[AtomicU16], index: u32) -> Option<Run> {
    let at = sample_of(samples, index);
    let run = run_at(*runs.get(at)?, counted_before(samples, at));
    (index.checked_sub(run.index)? < run.len).then_some(run)
}

/// A run with `index` values below it. A damaged one is cut at 65,535.
#[inline]
fn run_at(run: [u8; 4], index: u32) -> Run {
    let low = run_start(run);
    Run { low, index, len: run_len(run).min((1 << 16) - u32::from(low)) }
}

/// The count of values before a sample's place: 0 for the first, which holds the share instead.
#[inline]
fn counted_before(samples: &[AtomicU16], at: usize) -> u32 {
    if at == 0 { 0 } else { samples.get(at).map_or(0, |sample| u32::from(sample.load(Relaxed))) }
}

/// The last sample that counts no more than `index`.
#[inline]
fn sample_of(samples: &[AtomicU16], index: u32) -> usize {
    let Some((share, after_first)) = samples.split_first() else { return 0 };
    let guess = (u64::from(index) * u64::from(share.load(Relaxed))) >> 16;
    partition_point_near(after_first, guess as usize, |sample| u32::from(sample.load(Relaxed)) <= index)
}

/// As `partition_point`, from a guess. It first walks: each step is a branch, which the processor predicts
/// when lookups come in order. The steps of a binary search are loads that wait for each other.
#[inline]
fn partition_point_near<T>(items: &[T], guess: usize, is_before: impl Fn(&T) -> bool) -> usize {
    let mut at = guess.min(items.len());
    for _ in 0..MAX_STEPS {
        if items.get(at).is_some_and(&is_before) {
            at += 1;
        } else if at > 0 && !is_before(&items[at - 1]) {
            at -= 1;
        } else {
            return at;
        }
    }
    items.partition_point(is_before)
}

/// Position of the bit that has `index` set bits below it; `index` is less than the word's count.
fn select_in_word(word: u64, index: u32) -> u16 {
    const LOW_BITS: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = LOW_BITS << 7;
    // Byte k of `sums` counts the bits of bytes 0 to k: no branch until the byte is known.
    let pairs = word - ((word >> 1) & 0x5555_5555_5555_5555);
    let nibbles = (pairs & 0x3333_3333_3333_3333) + ((pairs >> 2) & 0x3333_3333_3333_3333);
    let sums = ((nibbles + (nibbles >> 4)) & 0x0F0F_0F0F_0F0F_0F0F).wrapping_mul(LOW_BITS);
    // A high bit remains for each byte whose sum is at most `index`: those are before the one sought.
    let not_above = ((u64::from(index) * LOW_BITS) | HIGH_BITS).wrapping_sub(sums) & HIGH_BITS;
    let shift = not_above.count_ones() * 8;
    let before = ((sums << 8) >> (shift & 63)) & 0xFF;
    let mut byte = (word >> (shift & 63)) & 0xFF;
    for _ in before..u64::from(index) {
        byte &= byte.wrapping_sub(1);
    }
    (shift + byte.trailing_zeros()) as u16
}

/// The first position from `from` whose bit differs from those of `plain` (all zeros or all ones).
fn next_bit(words: &[[u8; 8]], from: u32, plain: u64) -> Option<u32> {
    let mut index = (from / 64) as usize;
    let mut word = (u64::from_le_bytes(*words.get(index)?) ^ plain) & (u64::MAX << (from % 64));
    while word == 0 {
        index += 1;
        word = u64::from_le_bytes(*words.get(index)?) ^ plain;
    }
    Some(index as u32 * 64 + word.trailing_zeros())
}

fn run_start(run: [u8; 4]) -> u16 {
    u16::from_le_bytes([run[0], run[1]])
}

fn run_len(run: [u8; 4]) -> u32 {
    u32::from(u16::from_le_bytes([run[2], run[3]])) + 1
}

/// The count of runs that start at or below `low`.
#[inline]
fn runs_started(runs: &[[u8; 4]], low: u16) -> usize {
    let guess = (usize::from(low) * runs.len()) >> 16;
    partition_point_near(runs, guess, |run| run_start(*run) <= low)
}

fn count_runs(runs: &[[u8; 4]]) -> Result<u64, Fault> {
    let (mut counted, mut may_start_at) = (0, 0);
    for run in runs {
        let start = u32::from(run_start(*run));
        let end = start + run_len(*run);
        if start < may_start_at || end > 1 << 16 {
            return Err(Fault::Order);
        }
        counted += u64::from(run_len(*run));
        // A run that goes on where the one before it ends: CRoaring and roaring-rs refuse it too.
        may_start_at = end + 1;
    }
    Ok(counted)
}

#[cfg(test)]
mod tests;
