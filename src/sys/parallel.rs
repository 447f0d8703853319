//! Spreads the work of one call over the processors.

use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

/// The number of threads that the machine runs at once.
pub(crate) fn processors() -> usize {
    if cfg!(allotd_shuttle) { 1 } else { thread::available_parallelism().map_or(1, usize::from) }
}

/// Splits `0..len` into one part per processor; a part is at least `min_part` long and begins at a multiple
/// of `unit`.
pub(crate) fn parts(len: u32, min_part: u32, unit: u32) -> impl Iterator<Item = Range<u32>> {
    let part = len.div_ceil(processors() as u32).max(min_part).next_multiple_of(unit);
    (0..len).step_by(part as usize).map(move |start| start..start.saturating_add(part).min(len))
}

/// Runs `work` on each part, on a thread per part but for the last, which this thread does. The results are in the order of the parts. A panic of
/// `work` is passed on.
pub(crate) fn for_each<P: Send, T: Send>(
    parts: impl IntoIterator<Item = P>,
    work: impl Fn(P) -> T + Sync,
) -> Vec<T> {
    if cfg!(allotd_shuttle) {
        // A thread of the system is none of the simulated ones.
        return parts.into_iter().map(work).collect();
    }
    let mut parts: Vec<P> = parts.into_iter().collect();
    let Some(last) = parts.pop() else { return Vec::new() };
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || work(part))).collect();
        let last = work(last);
        let results = threads.into_iter();
        let results = results.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        results.chain([last]).collect()
    })
}
