//! The calls of the API over a real socket, and what exactly they answer. One program, as each costs a link.

#![allow(clippy::unwrap_used)]

mod attempts;
mod bench;
mod calls;
mod commands;
mod connections;
mod errors;
mod events;
mod growth;
mod headers;
mod holders;
mod lease_several;
mod lists;
mod note;
mod one_lease;
mod origin;
mod pace;
mod page;
mod release;
mod restore;
mod stats;
#[path = "../support/mod.rs"]
mod support;
mod waiting;
