//! Whether the system keeps its clock right.

use std::mem::MaybeUninit;

/// Whether the kernel says that something keeps the clock synchronized. `None` if it does not tell: the
/// sandbox of a service may forbid the question.
pub(crate) fn is_synchronized() -> Option<bool> {
    // SAFETY: zeros are a valid `timex`; with no modes, nothing is set.
    let mut state = unsafe { MaybeUninit::<libc::timex>::zeroed().assume_init() };
    // SAFETY: the pointer is valid for the call.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    (answer >= 0).then_some(state.status & libc::STA_UNSYNC == 0)
}
