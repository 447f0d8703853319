//! Why bytes are not a number set.

use thiserror::Error;

/// The two portable Roaring formats (`RoaringFormatSpec`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Buckets of 32-bit sets; the format of `*.numbers` files.
    Portable64,
    /// One 32-bit set.
    Portable32,
}

/// Why bytes are not a number set. Offsets are in bytes from the start.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SetError {
    /// The bytes end inside a header or a container.
    #[error("the number set ends too early, at byte {offset}: copy the file again in full")]
    Truncated {
        /// Where the bytes end.
        offset: u64,
    },
    /// Bytes after the last container.
    #[error("bytes follow the end of the number set at byte {offset}: copy the file again, or cut it there")]
    TrailingBytes {
        /// Where the set ends.
        offset: u64,
    },
    /// Neither of the two cookies of the format.
    #[error(
        "no portable Roaring bitmap starts at byte {offset} (cookie {cookie}): serialize it in the portable format"
    )]
    BadCookie {
        /// Where the cookie is.
        offset: u64,
        /// The value found there.
        cookie: u32,
    },
    /// More containers than keys.
    #[error("the count of containers at byte {offset} is over 65536: serialize the number set again")]
    BadCount {
        /// Where the count is.
        offset: u64,
    },
    /// Keys that do not ascend.
    #[error("the keys do not ascend at byte {offset}: serialize the number set again")]
    KeyOrder {
        /// Where the lower key is.
        offset: u64,
    },
    /// An offset header that is not the sequential layout.
    #[error(
        "the container offset at byte {offset} is not where the container lies: serialize the number set again"
    )]
    WrongOffset {
        /// Where the offset is stated.
        offset: u64,
    },
    /// Values or runs out of order, or runs that touch.
    #[error(
        "the container at byte {offset} has values out of order or runs that touch: serialize the number set again"
    )]
    ContainerOrder {
        /// Where the container's values are.
        offset: u64,
    },
    /// A container with another count than stated.
    #[error(
        "the container at byte {offset} holds a different count of numbers than its header says: serialize the number set again"
    )]
    ContainerCount {
        /// Where the container's values are.
        offset: u64,
    },
    /// The set holds something above [`crate::numbers::number::Number::MAX`].
    #[error("the container described at byte {offset} holds a number of more than 15 digits: remove it")]
    NumberTooHigh {
        /// Where the container or its description is.
        offset: u64,
    },
    /// More than [`crate::numbers::number::MAX_SET_NUMBERS`].
    #[error(
        "the number set holds more than 4000000000 numbers up to byte {offset}: split it into several pools"
    )]
    TooManyNumbers {
        /// Where the limit is exceeded.
        offset: u64,
    },
    /// Larger than the directory can describe.
    #[error("the number set is too large at byte {offset}: split it into several pools")]
    TooLarge {
        /// Where the limit is passed.
        offset: u64,
    },
    /// Neither a 64-bit nor a 32-bit set.
    #[error(
        "this is not a number set. As 64-bit portable Roaring: {as_64}. As 32-bit portable Roaring: {as_32}"
    )]
    NeitherFormat {
        /// Why it is not a 64-bit set.
        as_64: Box<SetError>,
        /// Why it is not a 32-bit set.
        as_32: Box<SetError>,
    },
}
