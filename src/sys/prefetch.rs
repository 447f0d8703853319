//! Prefetches memory that will be needed soon.

/// Prefetches a value into the first-level cache, and the translation of its address. It has no visible
/// effect.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(all(target_arch = "x86_64", not(allotd_loom)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the address is that of a live value, and a prefetch changes nothing that a program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(any(not(target_arch = "x86_64"), allotd_loom))]
    let _ = value;
}
