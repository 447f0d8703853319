//! What a pool says its next leases begin above.

/// Generations up to which a pool gives out none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Floors {
    /// The next lease has a larger one.
    pub generation: u32,
    /// Attempts up to this generation do not count any more. Never above `generation`.
    pub attempts: u32,
}

impl Floors {
    /// Those of a pool that never gave one up.
    pub const NONE: Self = Self { generation: 0, attempts: 0 };
}
