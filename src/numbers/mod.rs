//! Numbers, sets of numbers, and how they are read.
//!
//! A list of numbers ([`list`], [`import`]) becomes a sorted [`import::NumberList`], is written as a portable
//! Roaring bitmap ([`writer`]), and is then used in place ([`mapped`]).

mod container;
mod directory;
pub mod mapped;
pub mod number;
pub mod writer;
