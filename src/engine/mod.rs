//! The engine: pools of numbers, and the operations on them.

pub mod settings;
