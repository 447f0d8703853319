//! Files and mappings. Everything that the daemon writes goes through one trait, so that tests can use a disk
//! that fails, fills up or loses power. `unsafe` code is here, in `sys/` and in `journal/ring.rs`.

pub(crate) mod bus_error;
pub(crate) mod denied;
pub mod device;
pub mod directory_lock;
pub mod files;
pub mod mapping;
pub(crate) mod paced;
pub(crate) mod sequential;
pub mod space;
#[cfg(debug_assertions)]
pub mod unsynced;

pub use bus_error::end_on_bus_error;
pub use mapping::{MappedBytes, MappedWords, PageBuffer, Sharing, huge_page_vec};
pub use paced::{PART_BYTES, Pacer, PartSyncs, fill_with_zeros, write_in_parts};
pub use sequential::SequentialWriter;
