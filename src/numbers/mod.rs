//! Numbers, sets of numbers, and how they are read.
//!
//! A list of numbers ([`list`], [`import`]) becomes a sorted [`import::NumberList`], is written as a portable
//! Roaring bitmap ([`writer`]), and is then used in place ([`mapped`]).

pub mod list;
pub mod number;
pub mod sample;
pub mod set;
