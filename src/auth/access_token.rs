//! Access tokens: secrets by which callers prove who they are. The daemon knows only their hashes.
//!
//! A token is `alt_`, 32 random bytes and a CRC32C of these, both in Base64 URL without padding. The checksum
//! finds a token that is cut off or mistyped before it is looked up, and lets scanners find tokens in sources.

use std::fmt;
use std::io;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use thiserror::Error;

use crate::log::mask::TOKEN_PREFIX as PREFIX;
use crate::sys::random;

const SECRET_BYTES: usize = 32;
/// Length of the secret as text.
const SECRET_CHARS: usize = 43;
/// Length of the checksum as text.
const CRC_CHARS: usize = 6;
/// Length of a token, in bytes.
pub const TOKEN_BYTES: usize = PREFIX.len() + SECRET_CHARS + CRC_CHARS;
const HASH_BYTES: usize = 32;

/// A token. It has no `Display`, and its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(String);

/// The SHA-256 of a token's text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; HASH_BYTES]);

/// Why a text is not a token. The message does not repeat it.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub enum TokenError {
    /// It does not look like one.
    #[error("it is not an access token: these are {PREFIX} and {} more characters", SECRET_CHARS + CRC_CHARS)]
    Shape,
    /// It looks like one, but its checksum is of another.
    #[error("the access token's checksum is wrong: it is cut off, mistyped or invented")]
    Checksum,
}

/// A text that is not the SHA-256 of a token.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
#[error("sha256 takes hashes of 64 hexadecimal digits, as \"allotd token new\" prints them")]
pub struct HashError;

impl AccessToken {
    /// A new token from the system's randomness.
    pub fn random() -> io::Result<Self> {
        let mut secret = [0; SECRET_BYTES];
        random::fill(&mut secret)?;
        let crc = crc32c::crc32c(&secret).to_be_bytes();
        Ok(Self(format!("{PREFIX}{}{}", URL_SAFE_NO_PAD.encode(secret), URL_SAFE_NO_PAD.encode(crc))))
    }

    /// The secret itself, to be given to its holder or to be sent.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its hash.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of_text(self.0.as_bytes())
    }
}

impl FromStr for AccessToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        check(text.as_bytes())?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken")
    }
}

fn check(text: &[u8]) -> Result<(), TokenError> {
    let encoded = text.strip_prefix(PREFIX.as_bytes()).filter(|_| text.len() == TOKEN_BYTES);
    let (secret, crc) =
        encoded.and_then(|all| all.split_at_checked(SECRET_CHARS)).ok_or(TokenError::Shape)?;
    let decode = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Shape);
    let (secret, crc) = (decode(secret)?, decode(crc)?);
    if crc == crc32c::crc32c(&secret).to_be_bytes() { Ok(()) } else { Err(TokenError::Checksum) }
}

impl TokenHash {
    /// The hash of a presented token, if it is one.
    pub fn of_token(text: &[u8]) -> Result<Self, TokenError> {
        check(text)?;
        Ok(Self::of_text(text))
    }

    /// Its bytes.
    pub fn bytes(self) -> [u8; HASH_BYTES] {
        self.0
    }

    fn of_text(text: &[u8]) -> Self {
        Self(sha256(text))
    }
}

/// SHA-256 of `content`.
pub(super) fn sha256(content: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest(&SHA256, content).as_ref());
    hash
}

impl FromStr for TokenHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        if text.len() != 2 * HASH_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(HashError);
        }
        let mut hash = [0; HASH_BYTES];
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| HashError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| HashError)?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_another_text_is_not() {
        let token = AccessToken::random().unwrap();
        let text = token.reveal();
        assert_eq!((text.len(), text.parse()), (TOKEN_BYTES, Ok(token.clone())));
        assert_eq!(TokenHash::of_token(text.as_bytes()), Ok(token.hash()));
        assert_eq!(token.hash().to_string().parse(), Ok(token.hash()));
        assert_ne!(AccessToken::random().unwrap().hash(), token.hash());
        assert!(!format!("{token:?}").contains(&text[4..10]));
        for bad in
            ["", "alt_", &text[1..], &text[..text.len() - 1], &format!("{text}A"), &text.replace('t', "T")]
        {
            assert_eq!(bad.parse::<AccessToken>(), Err(TokenError::Shape), "{bad}");
        }
        let other = if text.as_bytes()[10] == b'A' { "B" } else { "A" };
        let flipped = format!("{}{other}{}", &text[..10], &text[11..]);
        assert_eq!(flipped.parse::<AccessToken>(), Err(TokenError::Checksum));
    }

    #[test]
    fn the_hash_is_that_of_the_text() {
        // printf %s "$token" | sha256sum
        let text = "alt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAipE2qg";
        let crc = URL_SAFE_NO_PAD.encode(crc32c::crc32c(&[0; SECRET_BYTES]).to_be_bytes());
        assert_eq!(text.parse::<AccessToken>().is_ok(), text.ends_with(&crc), "{crc}");
        for bad in ["", "0", &"0".repeat(63), &"g".repeat(64), &"\u{e9}".repeat(32), &"+1".repeat(32)] {
            assert_eq!(bad.parse::<TokenHash>(), Err(HashError), "{bad}");
        }
    }
}
