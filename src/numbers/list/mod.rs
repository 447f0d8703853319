//! Lists of numbers as people have them.
//!
//! The bytes of a list are decompressed and decoded ([`content`]); a text is cut into lines (`text`), a CSV into
//! rows (`rows`, with `dialect`, `quotes` and `columns`); a line or a cell is a number, a range or a prefix
//! (`line`), whose digits (`written`) are normalised by the numbering plan of a region ([`numbering_plan`],
//! [`region`]) and counted by country ([`country`]); what is read is gathered (`collect`) and merged (`merged`).

mod characters;
mod collect;
pub mod column_spec;
pub mod columns;
pub mod content;
pub mod country;
mod csv;
mod decode;
mod decompress;
mod dialect;
pub mod error;
pub mod fault;
mod invisible;
mod line;
mod memory;
pub(crate) mod merged;
mod numbering_blocks;
pub mod numbering_plan;
pub mod options;
pub(crate) mod quotes;
pub mod read;
pub mod region;
pub mod rows;
pub mod states;
pub mod survey;
mod text;
pub mod wording;
mod written;

pub use fault::{InvalidLine, LineFault, MAX_LINE_BYTES};
pub use line::{LineReader, parse_line};
pub use options::{ListFormat, ListOptions, OnInvalid, ReadStates};
