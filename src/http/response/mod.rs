//! Writing responses: bodies, JSON, problems.

pub mod body;
pub(crate) mod code;
mod engine_errors;
pub(crate) mod event_lines;
pub(crate) mod json;
pub(crate) mod problem;
pub(crate) mod protection;
pub(crate) mod stats;
pub mod watched;
