//! The `allotd` binary.

fn main() {}
