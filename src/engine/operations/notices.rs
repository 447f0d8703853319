//! Why a pool is paused, and why numbers of it were released or retired.

use std::sync::Arc;

use crate::domain::remark::Remark;
use crate::engine::notice::{NOTICE_SECONDS, Notice};
use crate::engine::pool::Pool;

impl Pool {
    /// Why the pool is paused, if that was said.
    pub fn pause_reason(&self) -> Option<Arc<Remark>> {
        self.notices.pause.load_full().filter(|_| self.is_paused())
    }

    /// Tells for a while that numbers were released or retired, and why.
    pub fn leave_notice(&self, act: &'static str, reason: Remark) {
        let at = self.shared.clock.now();
        self.notices.last.store(Some(Arc::new(Notice { at, act, reason })));
    }

    /// What was done to numbers of late.
    pub fn notice(&self) -> Option<Arc<Notice>> {
        let now = self.shared.clock.now();
        self.notices.last.load_full().filter(|notice| now <= notice.at.after(NOTICE_SECONDS))
    }
}
