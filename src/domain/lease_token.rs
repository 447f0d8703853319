//! Tokens: the proof of a lease. A token is a keyed hash, so it needs no storage.

use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;

use siphasher::sip::SipHasher24;

use crate::numbers::number::Number;

/// Length of a data directory's secret, in bytes.
pub const SECRET_BYTES: usize = 16;
/// Characters of a token as text.
pub const TOKEN_CHARS: usize = 11;
const URL_SAFE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The mark of a byte that is none of these characters.
const NO_SIX: u8 = 1 << 7;
/// The six bits that each character stands for.
static SIXES: [u8; 256] = {
    let mut sixes = [NO_SIX; 256];
    let mut six = 0;
    while six < URL_SAFE_CHARS.len() {
        sixes[URL_SAFE_CHARS[six] as usize] = six as u8;
        six += 1;
    }
    sixes
};

/// Proof of one lease of one number: SipHash-2-4 under the data directory's secret over the pool's
/// id, the number and the generation. Its text is the eight little-endian bytes in URL-safe Base64 without
/// padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token(u64);

/// A text is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token has {TOKEN_CHARS} characters of URL-safe Base64, as the lease returned it")]
pub struct NotAToken;

impl Token {
    /// The token's eleven characters, by RFC 4648, section 5. Written out because the library's encoder,
    /// which handles any length, is slower.
    #[inline]
    pub fn encode(self) -> [u8; TOKEN_CHARS] {
        let bits = self.0.swap_bytes();
        let char_at = |index: usize| {
            let shifted = if index == TOKEN_CHARS - 1 { bits << 2 } else { bits >> (58 - 6 * index) };
            URL_SAFE_CHARS[(shifted & 63) as usize]
        };
        std::array::from_fn(char_at)
    }

    /// Reads the eleven characters. Written out, as [`Self::encode`].
    #[inline]
    pub fn decode(text: &[u8]) -> Result<Self, NotAToken> {
        let text: &[u8; TOKEN_CHARS] = text.try_into().map_err(|_| NotAToken)?;
        let [first @ .., last] = text.map(|char| SIXES[usize::from(char)]);
        let (mut bits, mut all) = (0, last);
        for six in first {
            (bits, all) = (bits << 6 | u64::from(six), all | six);
        }
        // The last character has the last four bits; its other two are zero.
        if all & NO_SIX != 0 || last & 3 != 0 {
            return Err(NotAToken);
        }
        Ok(Self((bits << 4 | u64::from(last >> 2)).swap_bytes()))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.encode()))
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        Self::decode(text.as_bytes())
    }
}

/// Makes the tokens of one pool.
#[derive(Clone, Copy)]
pub struct TokenKey {
    /// Has already hashed the pool's id.
    hasher: SipHasher24,
}

impl TokenKey {
    /// The key of a pool. A deleted pool of the same name had another id, so its tokens are not valid here.
    pub fn new(secret: &[u8; SECRET_BYTES], pool_id: u64) -> Self {
        let mut hasher = SipHasher24::new_with_key(secret);
        hasher.write_u64(pool_id);
        Self { hasher }
    }

    /// The token of a lease of a number in a generation.
    #[inline]
    pub fn token(&self, number: Number, generation: u32) -> Token {
        let mut hasher = self.hasher;
        hasher.write_u64(number.get());
        hasher.write_u32(generation);
        Token(hasher.finish())
    }
}

/// A time from which on a pool's tokens are made with another key, because leases before it may have been lost:
/// a generation above `floor` that was given out before and is unknown now has another token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// The largest generation that was known when the epoch began. Leases of the epoch have larger ones.
    pub floor: u32,
    /// A random number.
    pub id: u64,
}

/// The keys of a pool's tokens, one per epoch.
#[derive(Clone)]
pub struct TokenKeys {
    floor: u32,
    newest: TokenKey,
    /// The keys of earlier epochs, each with the largest generation of the epoch, ascending.
    older: Box<[(u32, TokenKey)]>,
    /// The ids of the epochs; 0 for the time before the first one.
    ids: Box<[u64]>,
}

impl TokenKeys {
    /// The keys of a pool with these epochs, whose floors ascend. Generations up to the first floor are of the
    /// pool itself.
    pub fn new(secret: &[u8; SECRET_BYTES], pool_id: u64, epochs: &[Epoch]) -> Self {
        let pool = TokenKey::new(secret, pool_id);
        let key = |epoch: &Epoch| {
            let mut hasher = pool.hasher;
            hasher.write_u64(epoch.id);
            TokenKey { hasher }
        };
        let mut keys: Vec<TokenKey> = std::iter::once(pool).chain(epochs.iter().map(key)).collect();
        let newest = keys.pop().unwrap_or(pool);
        let older = epochs.iter().map(|epoch| epoch.floor).zip(keys).collect();
        let ids = std::iter::once(0).chain(epochs.iter().map(|epoch| epoch.id)).collect();
        Self { floor: epochs.last().map_or(0, |epoch| epoch.floor), newest, older, ids }
    }

    /// The id of the newest epoch; 0 if none has begun.
    #[inline]
    pub fn newest_id(&self) -> u64 {
        self.ids.last().copied().unwrap_or(0)
    }

    /// The ids of the earlier epochs, the latest first, each with the largest generation of its leases that are
    /// known: one with a larger generation was lost.
    pub fn earlier(&self) -> impl Iterator<Item = (u64, u32)> {
        let last = self.older.iter().map(|(last, _)| *last);
        self.ids.iter().copied().zip(last).rev()
    }

    /// New leases have generations above this.
    #[inline]
    pub fn floor(&self) -> u32 {
        self.floor
    }

    /// The token of a lease in a generation above the floor.
    #[inline]
    pub fn newest(&self, number: Number, generation: u32) -> Token {
        self.newest.token(number, generation)
    }

    /// The token of a lease in any generation.
    #[inline]
    pub fn token(&self, number: Number, generation: u32) -> Token {
        if generation > self.floor {
            return self.newest.token(number, generation);
        }
        let of = self.older.iter().find(|(last, _)| generation <= *last);
        of.map_or(self.newest, |(_, key)| *key).token(number, generation)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn each_epoch_has_its_own_tokens_and_the_older_ones_stay_valid() {
        let number = Number::new(79_123_456_789).unwrap();
        let (first, second) = (Epoch { floor: 5, id: 1 }, Epoch { floor: 9, id: 2 });
        let keys = |epochs: &[Epoch]| TokenKeys::new(&[7; SECRET_BYTES], 3, epochs);
        let (none, one, two) = (keys(&[]), keys(&[first]), keys(&[first, second]));
        assert_eq!((none.floor(), one.floor(), two.floor()), (0, 5, 9));
        assert_eq!(none.token(number, 1), TokenKey::new(&[7; SECRET_BYTES], 3).token(number, 1));
        for generation in 1..20 {
            let [a, b, c] = [&none, &one, &two].map(|keys| keys.token(number, generation));
            assert_eq!(a == b, generation <= 5);
            assert_eq!(b == c, generation <= 9);
            assert_ne!(a == c, generation > 5);
        }
        assert_eq!(two.newest(number, 10), two.token(number, 10));
        assert_eq!((none.newest_id(), one.newest_id(), two.newest_id()), (0, 1, 2));
        assert_eq!(none.earlier().count(), 0);
        assert_eq!(two.earlier().collect::<Vec<_>>(), [(1, 9), (0, 5)]);
    }

    #[test]
    fn the_text_is_base64() {
        for bits in (0..64).map(|shift| 0x9E37_79B9_7F4A_7C15_u64.rotate_left(shift)).chain([0, u64::MAX]) {
            let text = URL_SAFE_NO_PAD.encode(bits.to_le_bytes());
            assert_eq!(Token(bits).encode(), text.as_bytes());
            assert_eq!(Token::decode(text.as_bytes()), Ok(Token(bits)));
            for (at, other) in (0..TOKEN_CHARS).flat_map(|at| (0..=u8::MAX).map(move |other| (at, other))) {
                let mut text = text.clone().into_bytes();
                text[at] = other;
                let expected = URL_SAFE_NO_PAD.decode(&text).ok();
                let decoded = Token::decode(&text).ok().map(|token| token.0.to_le_bytes().to_vec());
                assert_eq!(decoded, expected, "{text:?}");
            }
        }
    }

    #[test]
    fn tokens_differ_by_everything_and_read_back() {
        let number = |n| Number::new(n).unwrap();
        let key = TokenKey::new(&[1; 16], 7);
        let token = key.token(number(79_123_456_789), 1);
        assert_eq!(token.to_string().len(), TOKEN_CHARS);
        assert_eq!(token.to_string().parse(), Ok(token));
        for other in [
            key.token(number(79_123_456_780), 1),
            key.token(number(79_123_456_789), 2),
            TokenKey::new(&[1; 16], 8).token(number(79_123_456_789), 1),
            TokenKey::new(&[2; 16], 7).token(number(79_123_456_789), 1),
        ] {
            assert_ne!(token, other);
        }
        for bad in ["", "short", "Yc1q0l6yBv+", "Yc1q0l6yBvM=", "Yc1q0l6yBvMM", "Yc1q0l6yBvN"] {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
    }
}
