//! Why the journal accepts no change.

/// Why no change is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The disk is full.
    #[error(
        "the disk of the data directory is full: free some space; changes then work again without a restart"
    )]
    Full,
    /// Too few standbys are there.
    #[error(
        "too few standbys are there to keep a change, as --require-replicas asks for: start them; changes then work \
         again without a restart"
    )]
    TooFewReplicas,
    /// Another member of the cluster may be primary.
    #[error("another member of the cluster may be primary by now: ask again, or ask the other members")]
    Deposed,
    /// The disk failed; the daemon stops.
    #[error("the disk failed and the daemon stops: read its log, check the disk, then start it again")]
    Poisoned,
}
