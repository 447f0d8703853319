//! Holds the limit of connections against that of file descriptors.

use tracing::warn;

use crate::http::server::control::Control;
use crate::sys::descriptors;

/// How many connections can be served, at most `wanted`: each needs a descriptor, and the daemon's own files
/// need theirs. Warns if these are fewer.
pub(crate) fn limit_connections(wanted: u64, control: &Control) -> u64 {
    let (Some(limit), Some(open)) = (descriptors::limit(), descriptors::open()) else { return wanted };
    let own = open.saturating_sub(control.open_connections());
    let possible = limit.saturating_sub(own + descriptors::reserve(limit)).max(1);
    if possible < wanted {
        warn!(
            event = "connections_limited",
            max_connections = possible,
            wanted,
            open_files_limit = limit,
            "the limit on open files allows fewer connections than --max-connections: raise it (ulimit -n, \
             LimitNOFILE=), or lower --max-connections"
        );
    }
    possible.min(wanted)
}
