//! Numbers, lists of numbers and sets of numbers.
//!
//! A list is read ([`list`]) into a sorted [`list::read::NumberList`], written as a portable Roaring bitmap
//! ([`set::writer`]), and then used in place ([`set`]).

pub mod list;
pub mod number;
pub(crate) mod pieces;
pub mod sample;
pub mod set;
