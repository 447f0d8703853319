//! Masks telephone numbers, and the tokens of callers, for the log.

/// This many digits in a row or more are treated as a telephone number in a text.
pub const MIN_NUMBER_DIGITS: usize = 7;
/// Digits that are shown at each end of a number of [`LONG_NUMBER_DIGITS`] or more.
const SHOWN_DIGITS: usize = 4;
/// From this length on, [`SHOWN_DIGITS`] are shown at each end; of shorter numbers half as many.
const LONG_NUMBER_DIGITS: usize = 11;
/// Replaces the other digits.
const HIDDEN: &str = "***";
/// Most characters of a path that are logged.
const MAX_PATH_LETTERS: usize = 256;
/// The part of a path after which a single number follows.
const NUMBER_PATH: &str = "/numbers/";

/// What every token of a caller begins with.
pub const TOKEN_PREFIX: &str = "alt_";

/// A text with every token in it cut to its beginning: a token may stand where it does not belong, such as in a
/// query.
pub fn without_tokens(text: &str) -> String {
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut parts = text.split(TOKEN_PREFIX);
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        clean.push_str(TOKEN_PREFIX);
        let rest = part.trim_start_matches(is_of_token);
        if rest.len() < part.len() {
            clean.push_str(HIDDEN);
        }
        clean.push_str(rest);
    }
    clean
}

/// Masks a number as `7912***4567`; of fewer than [`MIN_NUMBER_DIGITS`] digits none is shown.
pub fn number(digits: &str) -> String {
    let shown = match digits.len() {
        LONG_NUMBER_DIGITS.. => SHOWN_DIGITS,
        MIN_NUMBER_DIGITS.. => SHOWN_DIGITS / 2,
        _ => return HIDDEN.to_owned(),
    };
    // Both ends exist: the text is ASCII digits.
    let first = digits.get(..shown).unwrap_or_default();
    let last = digits.get(digits.len() - shown..).unwrap_or_default();
    format!("{first}{HIDDEN}{last}")
}

/// Masks the numbers in a text: [`MIN_NUMBER_DIGITS`] or more digits in a row.
pub fn text(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(from.len());
        let (digits, after) = from.split_at(end);
        masked.push_str(before);
        if digits.len() >= MIN_NUMBER_DIGITS {
            masked.push_str(&number(digits));
        } else {
            masked.push_str(digits);
        }
        rest = after;
    }
    masked.push_str(rest);
    masked
}

/// The first [`MAX_PATH_LETTERS`] characters of a path with its query. Its numbers are masked unless
/// `shows_numbers`; in the path of a single number, also a short number and one with signs in it.
pub(super) fn path(path: &str, shows_numbers: bool) -> String {
    let path = without_tokens(path);
    let whole = if shows_numbers { path } else { masked_path(&path) };
    match whole.char_indices().nth(MAX_PATH_LETTERS) {
        Some((end, _)) => format!("{}...", &whole[..end]),
        None => whole,
    }
}

fn masked_path(path: &str) -> String {
    match path.split_once(NUMBER_PATH) {
        None => text(path),
        Some((before, number_and_query)) => {
            let (written, query) = match number_and_query.split_once('?') {
                Some((written, query)) => (written, format!("?{}", text(query))),
                None => (number_and_query, String::new()),
            };
            let digits: String = written.chars().filter(char::is_ascii_digit).collect();
            format!("{}{NUMBER_PATH}{}{query}", text(before), number(&digits))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_stays_in_a_text() {
        let token = format!("{TOKEN_PREFIX}Ab-_09");
        assert_eq!(without_tokens(&format!("\"{token}\", and {token}")), "\"alt_***\", and alt_***");
        assert_eq!(without_tokens("nothing, alt_"), "nothing, alt_");
        assert_eq!(path(&format!("/v1/pools?token={token}&a=1"), true), "/v1/pools?token=alt_***&a=1");
    }

    #[test]
    fn a_number_shows_its_ends_only() {
        for (digits, shown) in [
            ("79123454567", "7912***4567"),
            ("123456789012345", "1234***2345"),
            ("9123454567", "91***67"),
            ("1234567", "12***67"),
            ("123456", "***"),
            ("", "***"),
        ] {
            assert_eq!(number(digits), shown, "{digits}");
        }
    }

    #[test]
    fn a_text_shows_no_number() {
        for (whole, shown) in [
            ("", ""),
            ("nothing", "nothing"),
            ("79123454567", "7912***4567"),
            ("in 512 ms: 79123454567, 1234567 and 123456.", "in 512 ms: 7912***4567, 12***67 and 123456."),
            ("номер 79123454567 занят", "номер 7912***4567 занят"),
        ] {
            assert_eq!(text(whole), shown);
        }
    }

    #[test]
    fn a_path_shows_no_number_however_it_is_written() {
        for (whole, shown) in [
            ("/v1/pools/ru/lease", "/v1/pools/ru/lease"),
            ("/v1/pools/ru/numbers/79123454567", "/v1/pools/ru/numbers/7912***4567"),
            ("/v1/pools/ru/numbers/150", "/v1/pools/ru/numbers/***"),
            ("/v1/pools/ru/numbers/7-912-345-45-67?a=1", "/v1/pools/ru/numbers/7912***4567?a=1"),
            ("/v1/pools/ru/numbers?within=79123454567", "/v1/pools/ru/numbers?within=7912***4567"),
            ("/v1/pools/79123454567/lease", "/v1/pools/7912***4567/lease"),
        ] {
            assert_eq!(path(whole, false), shown);
            assert_eq!(path(whole, true), whole);
        }
        let long = "/".repeat(MAX_PATH_LETTERS);
        assert_eq!(path(&long, true), long);
        assert_eq!(path(&format!("{long}a"), false), format!("{long}..."));
    }
}
