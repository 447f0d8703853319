//! Figures as people read them.

/// Steps between the units of bytes.
const BYTE_STEP: f64 = 1024.0;
const BYTE_UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
/// Steps between the units of short counts.
const COUNT_STEP: f64 = 1000.0;
const COUNT_UNITS: [&str; 4] = ["", "k", "M", "G"];
/// Blocks of eight heights; the first is empty.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A count with separators: `1,234,567`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A value in the largest unit that leaves a digit before the point.
fn scaled(value: f64, step: f64, units: &[&'static str]) -> (f64, &'static str) {
    let (mut value, mut unit) = (value, units[0]);
    for &larger in &units[1..] {
        // From here on the value would be shown as a whole step, such as 1000.
        if value < step - 0.5 {
            break;
        }
        (value, unit) = (value / step, larger);
    }
    (value, unit)
}

/// A count in at most six characters: `999`, `12.3k`, `40.0M`.
pub(super) fn short(count: u64) -> String {
    match scaled(count as f64, COUNT_STEP, &COUNT_UNITS) {
        (_, "") => count.to_string(),
        (value, unit) => format!("{value:.1}{unit}"),
    }
}

/// A count of things: `1 pool`, `2 pools`.
pub(super) fn many(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

/// Bytes in binary units: `12.3 GiB`.
pub(super) fn bytes(count: u64) -> String {
    match scaled(count as f64, BYTE_STEP, &BYTE_UNITS) {
        (_, "B") => format!("{count} B"),
        (value, unit) => format!("{value:.1} {unit}"),
    }
}

/// A length of time in its two largest units: `42s`, `3m 20s`, `3h 12m`, `5d 3h`.
pub(super) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{}d {hours}h", grouped(days)),
    }
}

/// Three digits of a value.
fn three_digits(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// Microseconds in a unit that fits: `12.3 µs`, `1.23 ms`, `4.50 s`.
pub(super) fn microseconds(value: f64) -> String {
    let (value, unit) = scaled(value, COUNT_STEP, &["µs", "ms", "s"]);
    format!("{} {unit}", three_digits(value))
}

/// A latency in microseconds in a table: no call takes none, so that means that there was no call.
pub(super) fn latency_cell(value: f64) -> String {
    if value > 0.0 { microseconds(value) } else { "-".to_owned() }
}

/// Milliseconds, likewise.
pub(super) fn milliseconds(value: u64) -> String {
    match value {
        0..1_000 => format!("{value} ms"),
        1_000..60_000 => format!("{} s", three_digits(value as f64 / COUNT_STEP)),
        _ => duration(value / 1_000),
    }
}

/// A rate per second: `0`, `0.25`, `12.3`, `1,234`.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate <= 0.0 => "0".to_owned(),
        rate if rate < 99.95 => three_digits(rate),
        // Not negative, and far below what 64 bits hold.
        #[expect(clippy::cast_sign_loss)]
        rate => grouped(rate.round() as u64),
    }
}

/// A share in percent: 0 only for nothing, 100 only for the whole.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let percent = 100.0 * part as f64 / whole.max(1) as f64;
    match part {
        0 => "0 %".to_owned(),
        part if part == whole => "100 %".to_owned(),
        _ if percent < 0.05 => "<0.1 %".to_owned(),
        _ if percent > 99.95 => ">99.9 %".to_owned(),
        _ => format!("{percent:.1} %"),
    }
}

/// How many of `cells` cells a part of a whole fills: 0 only for nothing, all only for the whole.
pub(super) fn cells(part: u64, whole: u64, cells: usize) -> usize {
    match part {
        0 => 0,
        part if part >= whole => cells,
        part => {
            let filled = u128::from(part) * cells as u128 / u128::from(whole);
            (filled as usize).min(cells.saturating_sub(1)).max(1)
        }
    }
}

/// A block whose height is a share of a whole.
pub(super) fn block(part: u64, whole: u64) -> char {
    BLOCKS[cells(part, whole, BLOCKS.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let shown = [0, 12, 999, 1_000, 123_456, 40_000_000].map(grouped);
        assert_eq!(shown, ["0", "12", "999", "1,000", "123,456", "40,000,000"]);
        let shown = [0, 999, 1_000, 12_345, 999_999, 40_000_000].map(short);
        assert_eq!(shown, ["0", "999", "1.0k", "12.3k", "1.0M", "40.0M"]);
        assert!(short(u64::MAX).ends_with('G'));
        assert_eq!([0, 1, 2].map(|count| many(count, "pool")), ["0 pools", "1 pool", "2 pools"]);
    }

    #[test]
    fn sizes_and_times() {
        let shown = [0, 1_023, 1_024, 5 << 20, 3 << 40].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 TiB"]);
        let shown = [0, 59, 200, 11_520, 442_800, u64::MAX].map(duration);
        assert_eq!(shown[..5], ["0s", "59s", "3m 20s", "3h 12m", "5d 3h"]);
        let shown = [0.0, 12.34, 999.6, 1_234.0, 999_900.0, 4.5e6].map(microseconds);
        assert_eq!(shown, ["0.00 µs", "12.3 µs", "1.00 ms", "1.23 ms", "1.00 s", "4.50 s"]);
        assert_eq!([0.0, 12.34].map(latency_cell), ["-", "12.3 µs"]);
        assert_eq!([5, 1_250, 61_000].map(milliseconds), ["5 ms", "1.25 s", "1m 1s"]);
        assert_eq!([0.0, 0.25, 12.34, 1_234.4].map(rate), ["0", "0.25", "12.3", "1,234"]);
    }

    #[test]
    fn shares_say_none_and_all_only_of_these() {
        let million = 1_000_000;
        let shown = [0, 1, 500_000, 999_999, million].map(|part| percent(part, million));
        assert_eq!(shown, ["0 %", "<0.1 %", "50.0 %", ">99.9 %", "100 %"]);
        assert_eq!(percent(0, 0), "0 %");
        let shown = [0, 1, 500_000, 999_999, million].map(|part| block(part, million));
        assert_eq!(shown, [' ', '▁', '▄', '▇', '█']);
        assert_eq!(block(0, 0), ' ');
    }
}
