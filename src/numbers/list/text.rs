//! Reads a text list in parallel: the calling thread cuts blocks of whole lines, and other threads parse
//! them.

use std::io::{self, Read};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};
use memchr::{memchr, memrchr};

use crate::numbers::number::Number;
use crate::sys::parallel;

use super::collect::{Collected, Joined};
use super::error::{ListError, Progress};
use super::fault::{InvalidLine, MAX_LINE_BYTES};
use super::line::LineReader;
use super::memory::MemoryCheck;
use super::merged::{MAX_KEPT_INVALID, NumberList};
use super::options::{Holds, ListOptions, OnInvalid};

/// Bytes that one thread parses at a time: few enough to stay in its cache.
pub(crate) const BLOCK_BYTES: usize = 512 * 1024;
/// Blocks that wait for a parser.
const QUEUED_BLOCKS: usize = 4;
/// Few parsers keep up with the reader; more only use memory.
const MAX_PARSERS: usize = 4;
/// A guess for the first allocation: bytes of a line with an 11-digit number.
const USUAL_LINE_BYTES: usize = 12;

/// Whole lines, numbered in file order.
struct Block {
    sequence: usize,
    text: Vec<u8>,
}

/// The content of a block. Its lines are counted from the block's first.
struct Parsed {
    lines: u64,
    collected: Collected,
}

/// Reads the list in blocks of about `block_bytes`.
pub(crate) fn read_lines(
    input: impl Read,
    options: &ListOptions,
    progress: Progress<'_>,
    block_bytes: usize,
) -> Result<NumberList, ListError> {
    let parsers = parallel::processors().clamp(2, MAX_PARSERS);
    let (blocks_in, blocks_out) = bounded::<Block>(QUEUED_BLOCKS);
    let (spare_in, spare_out) = bounded::<Vec<u8>>(QUEUED_BLOCKS + parsers);
    let refused = &AtomicBool::new(false);
    let memory = &MemoryCheck::new();
    let joined = Mutex::new(Joined::new(options));
    let (read, parsed) = thread::scope(|scope| {
        let threads: Vec<_> = (0..parsers)
            .map(|_| {
                let (blocks, spare, joined) = (blocks_out.clone(), spare_in.clone(), &joined);
                scope.spawn(move || parse_blocks(&blocks, &spare, options, (refused, memory), joined))
            })
            .collect();
        // Only the parsers hold the other end: if all of them end, sending fails instead of waiting.
        drop(blocks_out);
        let read = cut_blocks(input, block_bytes, progress, &spare_out, |block| {
            !refused.load(Relaxed) && blocks_in.send(block).is_ok()
        });
        drop(blocks_in);
        (read, threads.into_iter().try_for_each(thread::ScopedJoinHandle::join))
    });
    memory.refusal()?;
    parsed.map_err(|_| ListError::ParserFailed)?;
    let collected = joined.into_inner().unwrap_or_else(PoisonError::into_inner).whole();
    if options.on_invalid == OnInvalid::Refuse
        && let Some(first) = collected.first_invalid().first()
    {
        return Err(ListError::InvalidLine(first.clone()));
    }
    read?;
    Ok(collected.into_list())
}

/// Cuts the input at line ends until it ends or `send` declines.
fn cut_blocks(
    mut input: impl Read,
    block_bytes: usize,
    progress: Progress<'_>,
    spare: &Receiver<Vec<u8>>,
    mut send: impl FnMut(Block) -> bool,
) -> io::Result<()> {
    let mut bytes_read = 0;
    let mut sequence = 0;
    let mut carried = Vec::new();
    loop {
        let mut text = spare.try_recv().unwrap_or_default();
        text.clear();
        text.reserve(carried.len() + block_bytes);
        text.append(&mut carried);
        let count = input.by_ref().take(block_bytes as u64).read_to_end(&mut text)?;
        bytes_read += count as u64;
        progress(bytes_read);
        if count > 0 {
            let Some(end) = memrchr(b'\n', &text) else {
                // A line this long is refused whatever follows, so its rest is dropped.
                text.truncate(MAX_LINE_BYTES + 1);
                carried = text;
                continue;
            };
            carried.extend_from_slice(&text[end + 1..]);
            text.truncate(end + 1);
        }
        if !send(Block { sequence, text }) || count == 0 {
            return Ok(());
        }
        sequence += 1;
    }
}

fn parse_blocks(
    blocks: &Receiver<Block>,
    spare: &Sender<Vec<u8>>,
    options: &ListOptions,
    (refused, memory): (&AtomicBool, &MemoryCheck),
    joined: &Mutex<Joined>,
) {
    let mut reader = LineReader::new(options);
    let mut kept = 0;
    for block in blocks {
        let mut parsed = parse_block(&block, &mut reader, options);
        parsed.collected.compact(block.text.len());
        // A parser sees its blocks in file order, so the first ten of all are among the first ten of each.
        parsed.collected.keep_invalid(MAX_KEPT_INVALID - kept);
        kept += parsed.collected.first_invalid().len();
        let has_room = memory.keep(parsed.collected.bytes());
        if !has_room || parsed.collected.invalid() > 0 && options.on_invalid == OnInvalid::Refuse {
            refused.store(true, Relaxed);
        }
        // Here, not at the end: a list that is decompressed leaves the parsers time for it.
        let mut joined = joined.lock().unwrap_or_else(PoisonError::into_inner);
        joined.add(block.sequence, parsed.collected, parsed.lines);
        drop(joined);
        // If the channel is full, the buffer is freed.
        let _ = spare.try_send(block.text);
    }
}

fn parse_block(block: &Block, reader: &mut LineReader<'_>, options: &ListOptions) -> Parsed {
    let mut parsed = Parsed { lines: 0, collected: Collected::new(options) };
    parsed.collected.reserve(block.text.len() / USUAL_LINE_BYTES + 1);
    let (is_numbers, is_plain) = (options.holds == Holds::Numbers, options.is_plain());
    let mut rest = block.text.as_slice();
    while !rest.is_empty() {
        parsed.lines += 1;
        let lines = parsed.lines;
        let digits = if is_numbers { digits_line(rest) } else { None };
        if let Some((digits, bytes)) = digits
            && let Some(number) =
                if is_plain { digits.plain() } else { reader.known(digits.value, digits.count) }
        {
            parsed.collected.push_single(number, || (lines, rest[..bytes].trim_ascii().to_vec()));
            rest = &rest[bytes..];
            continue;
        }
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        match reader.line(line) {
            Ok(None) => {}
            Ok(Some(range)) => parsed.collected.push(range, || (lines, line.to_vec())),
            Err(reason) => {
                parsed.collected.skip(InvalidLine::new(lines, line, reason, options.wording));
                if options.on_invalid == OnInvalid::Refuse {
                    return parsed;
                }
            }
        }
    }
    parsed
}

/// A line of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Digits {
    /// What they are worth as a number.
    value: u64,
    /// How many there are, with zeros at the beginning.
    count: usize,
    begins_with_zero: bool,
}

impl Digits {
    /// The number that is written; `None` if the options decide what a zero at its beginning means.
    #[inline]
    fn plain(self) -> Option<Number> {
        if self.begins_with_zero { None } else { Number::new(self.value).ok() }
    }
}

/// A line of 8 to 15 digits at the start of `rest`, and its length with its line end. `None` if it is
/// anything else, or too near the end of `rest`: then the slow reader must read it. Takes eight digits per
/// step.
fn digits_line(rest: &[u8]) -> Option<(Digits, usize)> {
    const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);
    const HIGH_BITS: u64 = u64::from_le_bytes([0x80; 8]);
    const ABOVE_NINE: u64 = u64::from_le_bytes([0x80 - 10; 8]);
    const POWERS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
    let head = rest.first_chunk::<16>()?;
    let (eight, more) = head.split_first_chunk::<8>()?;
    let eight = u64::from_le_bytes(*eight) ^ ZEROS;
    let more = u64::from_le_bytes(more.try_into().ok()?) ^ ZEROS;
    let not_digits = |word: u64| (word.wrapping_add(ABOVE_NINE) | word) & HIGH_BITS;
    if not_digits(eight) != 0 {
        return None;
    }
    let more_digits = (not_digits(more).trailing_zeros() / 8) as usize;
    let end = 8 + more_digits;
    let bytes = match (rest.get(end)?, rest.get(end + 1)) {
        (b'\n', _) => end + 1,
        (b'\r', Some(b'\n')) => end + 2,
        _ => return None,
    };
    // Shifted to the top, the digits have zeros before them. More than 7 left above: `head[end]` was no
    // digit.
    let low = eight_digits((more << (56 - 8 * more_digits.min(7))) << 8);
    let value = eight_digits(eight) * POWERS.get(more_digits)? + low;
    Some((Digits { value, count: end, begins_with_zero: head[0] == b'0' }, bytes))
}

/// The value of eight digits, the first in the lowest byte.
fn eight_digits(digits: u64) -> u64 {
    const EVERY_FOURTH: u64 = 0x0000_00FF_0000_00FF;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let low = (pairs & EVERY_FOURTH).wrapping_mul(100 + (1_000_000 << 32));
    let high = ((pairs >> 16) & EVERY_FOURTH).wrapping_mul(1 + (10_000 << 32));
    low.wrapping_add(high) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::list::parse_line;
    use crate::numbers::number::NumberRange;

    #[test]
    fn the_fast_path_reads_what_parse_line_reads() {
        let options = ListOptions::default();
        for line in [
            "12345678",
            "1234567",
            "123456789012345",
            "1234567890123456",
            "79123456789",
            "01234567890",
            "7912345678x",
            "+79123456789",
            "99999999",
            "7912345:789",
            "7912345/789",
            "123456789 ",
            "10000000",
        ] {
            for end in ["\n", "\r\n", "\r\r\n"] {
                let text = format!("{line}{end}79123456789\n79123456789\n");
                let read = digits_line(text.as_bytes());
                if let Some((digits, bytes)) = read
                    && let Some(number) = digits.plain()
                {
                    assert_eq!((digits.count, bytes), (line.len(), line.len() + end.len()));
                    assert_eq!(parse_line(line.as_bytes(), &options), Ok(Some(NumberRange::single(number))));
                }
            }
        }
        let zeros = Digits { value: 1_234_567_890, count: 11, begins_with_zero: true };
        let text = b"01234567890\n7\n7\n7\n7\n7\n";
        assert_eq!((digits_line(text), zeros.plain()), (Some((zeros, 12)), None));
        let mut value = 10_000_000_u64;
        while value < 1_000_000_000_000_000 {
            let text = format!("{value}\n7\n7\n7\n7\n7\n");
            let count = value.to_string().len();
            let expected = Some((Digits { value, count, begins_with_zero: false }, count + 1));
            assert_eq!(digits_line(text.as_bytes()), expected);
            value += value / 97 + 1;
        }
    }

    #[test]
    fn lines_of_a_region_are_read_alike_with_what_is_known_and_without() {
        for (region, lines) in [
            ("RU", ["9123456789", "89123456789", "79123456789", "88001234567", "4951234567", "912345678"]),
            ("GB", ["02079460018", "2079460018", "07700900123", "442079460018", "01212345678", "0207946001"]),
        ] {
            let options = ListOptions { region: Some(region.parse().unwrap()), ..ListOptions::default() };
            let mut reader = LineReader::new(&options);
            for line in lines {
                for last in b'0'..=b'9' {
                    let line = [&line.as_bytes()[..line.len() - 1], &[last]].concat();
                    let text = [&line[..], b"\n7\n7\n7\n7\n7\n"].concat();
                    let known =
                        digits_line(&text).and_then(|(digits, _)| reader.known(digits.value, digits.count));
                    let read = reader.line(&line).ok().flatten();
                    assert_eq!(read, parse_line(&line, &options).ok().flatten());
                    if known.is_some() {
                        assert_eq!(known.map(NumberRange::single), read);
                    }
                }
            }
        }
    }
}
