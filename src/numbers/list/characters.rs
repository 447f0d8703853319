//! Characters that are read as what they look like: spaces, hyphens, fullwidth digits, the marks that editors
//! and spreadsheets add.

use std::borrow::Cow;

use super::fault::LineFault;
use super::invisible::is_invisible;

/// The ASCII character that another one looks like.
fn looks_like(character: char) -> Option<char> {
    Some(match character {
        '\t'
        | '\n'
        | '\r'
        | '\u{A0}'
        | '\u{1680}'
        | '\u{2000}'..='\u{200A}'
        | '\u{202F}'
        | '\u{205F}'
        | '\u{3000}' => ' ',
        '\u{2010}'..='\u{2015}'
        | '\u{2043}'
        | '\u{2212}'
        | '\u{30FC}'
        | '\u{FE58}'
        | '\u{FE63}'
        | '\u{FF0D}' => '-',
        // The fullwidth forms of ASCII, in the same order.
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(character) - 0xFF01 + u32::from('!'))?,
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{201C}' | '\u{201D}' => '"',
        '\u{2215}' | '\u{2044}' => '/',
        '\u{2217}' => '*',
        _ => return None,
    })
}

/// The text of a line or a cell in ASCII, without what a spreadsheet put around it.
pub(super) fn clean(text: &[u8]) -> Result<Cow<'_, [u8]>, LineFault> {
    let text = text.trim_ascii();
    if text.iter().all(|byte| byte.is_ascii() && *byte >= b' ') {
        return Ok(Cow::Borrowed(unwrapped(text)));
    }
    let mut cleaned = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars().filter(|character| !is_invisible(*character)) {
            let character = looks_like(character).unwrap_or(character);
            if !character.is_ascii() || character.is_ascii_control() {
                return Err(LineFault::BadCharacter(character));
            }
            cleaned.push(character as u8);
        }
        if let Some(byte) = chunk.invalid().first() {
            return Err(LineFault::NotUtf8(*byte));
        }
    }
    Ok(Cow::Owned(unwrapped(&cleaned).to_vec()))
}

/// The text inside `="…"`, `"…"` or after `'`, as spreadsheets mark text.
fn unwrapped(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii();
    let inner = text.strip_prefix(b"=").unwrap_or(text);
    if let Some(inner) = inner.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")) {
        return inner.trim_ascii();
    }
    let after = text.strip_prefix(b"'").unwrap_or(text);
    if after.len() == text.len() { text } else { after.strip_suffix(b"'").unwrap_or(after).trim_ascii() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_are_read_as_what_they_look_like() {
        for (text, expected) in [
            ("+7\u{a0}912\u{202f}123", "+7 912 123"),
            ("\u{202a}79121234567\u{202c}", "79121234567"),
            ("\u{feff}7912\u{200b}1234567", "79121234567"),
            ("+７９（１２）", "+79(12)"),
            ("7912–7913—7914‑15−16", "7912-7913-7914-15-16"),
            ("'79121234567", "79121234567"),
            ("’79121234567", "79121234567"),
            ("=\"79121234567\"", "79121234567"),
            ("\"79121234567\"", "79121234567"),
            ("7912\t1234567", "7912 1234567"),
        ] {
            assert_eq!(clean(text.as_bytes()).unwrap(), expected.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn what_looks_like_nothing_is_named() {
        assert_eq!(clean("7912٣".as_bytes()), Err(LineFault::BadCharacter('٣')));
        assert_eq!(clean("79О1".as_bytes()), Err(LineFault::BadCharacter('О')), "a Cyrillic letter");
        assert_eq!(clean(b"79\xC812"), Err(LineFault::NotUtf8(0xC8)));
        assert_eq!(clean(b"79\x0112"), Err(LineFault::BadCharacter('\u{1}')));
    }
}
