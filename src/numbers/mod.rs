//! Numbers, sets of numbers, and how they are read.
