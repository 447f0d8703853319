//! What operators tell those who use a pool: why it is paused, and why numbers of it were released or retired.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::domain::remark::Remark;
use crate::state::time::Timestamp;

/// For how long a notice is told, in seconds.
pub(crate) const NOTICE_SECONDS: u32 = 3_600;

/// Why numbers were released or retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// When.
    pub at: Timestamp,
    /// What was done: `released` or `retired`.
    pub act: &'static str,
    /// Why.
    pub reason: Remark,
}

/// What a pool has to tell.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    pub(crate) pause: ArcSwapOption<Remark>,
    pub(crate) last: ArcSwapOption<Notice>,
}

impl Notices {
    pub(crate) fn new(pause: Option<Remark>) -> Self {
        Self { pause: ArcSwapOption::from_pointee(pause), last: ArcSwapOption::empty() }
    }

    pub(crate) fn set_pause(&self, reason: Option<Remark>) {
        self.pause.store(reason.map(Arc::new));
    }
}
