//! What a limit of attempts can be, and why one is refused.

/// The most attempts that can be counted.
pub const MAX_ATTEMPTS: u32 = 15;

/// Attempts that are not valid. The message says what to give instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttemptsError {
    /// Too few or too many.
    #[error("max is {0}: give 1 to {MAX_ATTEMPTS}")]
    Max(u32),
    /// The number would come back as before.
    #[error("then is available, as if there were no limit: give rest:SECONDS, done, retired or list:NAME")]
    Available,
    /// Text that is not `MAX:THEN`.
    #[error("\"{0}\" is not MAX:THEN: give for example 3:done")]
    Text(String),
}
