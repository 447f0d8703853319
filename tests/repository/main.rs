//! What holds the repository together: the plan of src/, and documents that say what the code does.

#![allow(clippy::unwrap_used)]

mod docs;
mod limits;
mod rooms;
