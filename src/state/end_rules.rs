//! What a pool says becomes of numbers whose leases end by time. `Word::expiry` applies it.

/// What the sweep does with a lease that ended without a return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiryRule {
    /// Available at once.
    Available,
    /// Rests for N seconds after the lease's end.
    Rest(u32),
    /// Done in this round.
    Done(u32),
    /// Retired.
    Retired,
}

/// What the sweep does with a lease that ended, in a pool that may limit attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndRules {
    /// Before the last attempt.
    pub on_expiry: ExpiryRule,
    /// The limit, if there is one.
    pub attempts: Option<AttemptLimit>,
}

/// From which attempt on a number does not come back as other numbers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptLimit {
    /// The last attempt.
    pub max: u32,
    /// See [`Floors::attempts`](super::floors::Floors::attempts).
    pub floor: u32,
    /// What becomes of the number after it.
    pub then: ExpiryRule,
}

impl From<ExpiryRule> for EndRules {
    fn from(on_expiry: ExpiryRule) -> Self {
        Self { on_expiry, attempts: None }
    }
}

impl EndRules {
    /// Whether every lease that ends leaves its number available.
    #[inline]
    pub fn is_always_available(self) -> bool {
        self.on_expiry == ExpiryRule::Available && self.attempts.is_none()
    }
}
