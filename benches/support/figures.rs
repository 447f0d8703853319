//! Figures of several rounds: medians with their spread.

use serde_json::{Value, json};

/// Median, lowest and highest.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.as_slice() {
        [] => [f64::NAN; 3],
        some => [some[some.len() / 2], some[0], some[some.len() - 1]],
    }
}

pub(crate) fn spread_json(values: impl Iterator<Item = f64>) -> Value {
    let [median, lowest, highest] = spread(values);
    json!({ "median": median, "lowest": lowest, "highest": highest })
}

/// A figure with about three digits.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A count in short, such as 40 k or 4 M.
pub(crate) fn short_count(count: f64) -> String {
    match count {
        many if many >= 1e6 => format!("{} M", many / 1e6),
        many if many >= 1e4 && many % 1e3 == 0.0 => format!("{} k", many / 1e3),
        few => few.to_string(),
    }
}
