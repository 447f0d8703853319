//! Why a word changed, as its record tells it.

/// Bits of a cause beyond its low byte.
pub(super) const HIGH_BITS: u32 = 15;
/// Bits of the kind; the others are the tag of an outcome.
const KIND_BITS: u32 = 3;

/// What happened to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ChangeKind {
    /// Nothing that anybody did: its rest is over, its word moved, or the record is of an older format.
    Other = 0,
    /// It was leased.
    Leased = 1,
    /// Its lease was extended.
    Renewed = 2,
    /// Its holder returned it.
    Returned = 3,
    /// Its lease ended without a return.
    Expired = 4,
    /// An operator ended its lease or rest.
    Released = 5,
    /// An operator retired it, or its generations are used up.
    Retired = 6,
    /// An operator reinstated it.
    Reinstated = 7,
}

impl ChangeKind {
    const ALL: [Self; 1 << KIND_BITS] = [
        Self::Other,
        Self::Leased,
        Self::Renewed,
        Self::Returned,
        Self::Expired,
        Self::Released,
        Self::Retired,
        Self::Reinstated,
    ];

    /// The kind of this number, modulo the count of kinds.
    pub fn of(number: u8) -> Self {
        Self::ALL[usize::from(number) % Self::ALL.len()]
    }
}

/// What happened to a number, and with which outcome: a kind of 3 bits and the tag of an outcome of 20.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause(u32);

impl Cause {
    /// Bits of the tag of an outcome.
    pub const TAG_BITS: u32 = 8 - KIND_BITS + HIGH_BITS;

    /// A cause without an outcome.
    #[inline]
    pub const fn of(kind: ChangeKind) -> Self {
        Self(kind as u32)
    }

    /// A return with an outcome of this tag.
    #[inline]
    pub fn returned(tag: u32) -> Self {
        Self(ChangeKind::Returned as u32 | (tag & ((1 << Self::TAG_BITS) - 1)) << KIND_BITS)
    }

    /// It came to the pool, with a history of its own.
    pub const ADDED: Self = Self(1 << KIND_BITS);

    /// What happened.
    pub fn kind(self) -> ChangeKind {
        ChangeKind::of(self.0 as u8)
    }

    /// The tag of the outcome; 0 for none.
    pub fn tag(self) -> u32 {
        self.0 >> KIND_BITS
    }

    /// The low byte and the other bits.
    #[inline]
    pub(super) fn parts(self) -> (u8, u64) {
        (self.0 as u8, u64::from(self.0 >> 8))
    }

    pub(super) fn of_parts(low: u8, high: u64) -> Self {
        Self(u32::from(low) | (high as u32) << 8)
    }
}
