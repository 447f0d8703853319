//! What a reader of a data directory does at damage.

/// Whether damage ends the reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDamage {
    /// Fail at the first damage.
    Refuse,
    /// Use all that is readable and report the rest. Numbers whose state is lost are retired.
    GiveUp,
}
