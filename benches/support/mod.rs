//! What the benches that measure whole servers share.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub(crate) mod curve;
pub(crate) mod daemon;
pub(crate) mod figures;
pub(crate) mod machine;
pub(crate) mod numbers;
pub(crate) mod options;
pub(crate) mod process;
