//! The limits and defaults of a pool's settings.

/// Maximum lease, in seconds (one year).
pub const MAX_TTL_SECONDS: u32 = 366 * 24 * 3600;
/// Maximum rest after a return or an expiry, in seconds (ten years).
pub const MAX_REST_SECONDS: u32 = 10 * 366 * 24 * 3600;
/// Default length of a lease, in seconds.
pub const DEFAULT_TTL_SECONDS: u32 = 300;
/// Default maximum length of a lease, in seconds.
pub const DEFAULT_TTL_MAX_SECONDS: u32 = 24 * 3600;
/// Maximum length of a pool name, in bytes.
pub const MAX_POOL_NAME_BYTES: usize = 64;
/// Maximum length of an outcome name, in bytes.
pub const MAX_OUTCOME_BYTES: usize = 64;
/// Maximum outcome rules per pool.
pub const MAX_OUTCOMES: usize = 64;
/// Default of how many calls may wait for a number of a pool,
pub const DEFAULT_MAX_WAITERS: u32 = 10_000;
/// and the most that a pool may allow.
pub const MOST_WAITERS: u32 = 1_000_000;
/// Maximum lists that block the numbers of one pool.
pub const MAX_BLOCKING_LISTS: usize = 16;
