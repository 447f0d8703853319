//! The memory of the process.

/// Resident memory in bytes, or `None` where `/proc` does not report it.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse_resident_bytes(&status)
}

/// `VmRSS` of a text like `/proc/self/status`, whose unit is KiB (`proc_pid_status(5)`).
fn parse_resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_text() {
        assert_eq!(parse_resident_bytes("VmSize:\t  9 kB\nVmRSS:\t    12 kB\n"), Some(12 * 1024));
        assert_eq!(parse_resident_bytes("VmRSS:\t 12 pages\n"), None);
        assert_eq!(parse_resident_bytes(""), None);
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
    }
}
