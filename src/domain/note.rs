//! A pool's note: what its operator wants to tell whoever leases there, in Markdown.

use serde::{Deserialize, Serialize};

/// Maximum length of a note, in bytes.
pub const MAX_NOTE_BYTES: usize = 16 << 10;

/// A text is no note. The message says what to give instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is too long.
    #[error("note is longer than {MAX_NOTE_BYTES} bytes: shorten it, or link to the rest")]
    TooLong,
    /// It holds what a terminal would obey.
    #[error("note holds the control character U+{0:04X}: give text, tabs and ends of lines only")]
    Control(u32),
}

/// A text of at most [`MAX_NOTE_BYTES`] without control characters but tabs and ends of lines. Empty for none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Note(String);

impl Note {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<String> for Note {
    type Error = NoteError;

    fn try_from(text: String) -> Result<Self, NoteError> {
        if text.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong);
        }
        match text.chars().find(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
            Some(control) => Err(NoteError::Control(control.into())),
            None => Ok(Self(text)),
        }
    }
}

impl From<Note> for String {
    fn from(note: Note) -> Self {
        note.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_text_of_a_bounded_length() {
        let longest = "é".repeat(MAX_NOTE_BYTES / 2);
        for text in ["", "# Say hello\n\n\t*Name* first.\r\n", &longest] {
            assert_eq!(Note::try_from(text.to_owned()).unwrap().as_str(), text);
        }
        assert_eq!(Note::try_from(format!("{longest}a")), Err(NoteError::TooLong));
        for (text, code) in [("a\0b", 0), ("\u{1b}[2J", 0x1b), ("\u{85}", 0x85)] {
            assert_eq!(Note::try_from(text.to_owned()), Err(NoteError::Control(code)));
        }
        let refused = serde_json::from_str::<Note>("\"\\u0007\"").unwrap_err().to_string();
        assert!(refused.contains("U+0007"), "{refused}");
    }
}
