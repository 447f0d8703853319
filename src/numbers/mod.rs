//! Numbers, sets of numbers, and how they are read.
//!
//! A list of numbers ([`list`], [`import`]) becomes a sorted [`import::NumberList`], is written as a portable
//! Roaring bitmap ([`writer`]), and is then used in place ([`mapped`]).

mod container;
pub mod csv_list;
mod directory;
pub mod import;
pub mod list;
pub mod mapped;
pub mod national;
pub mod number;
pub(crate) mod number_list;
pub mod number_run;
pub mod sample;
mod text_list;
pub mod writer;
