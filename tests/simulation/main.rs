#![cfg(allotd_shuttle)]
#[test]
fn empty() {}
