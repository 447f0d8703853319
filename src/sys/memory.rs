//! The memory of the process, and what is free.

/// Resident memory in bytes, or `None` where `/proc` does not report it.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse_resident_bytes(&status)
}

/// Memory that the process can still get, or `None` where the system does not report it: what the machine has, or the
/// limit of the process's control group (version 2), whichever is less.
pub(crate) fn available_bytes() -> Option<u64> {
    let of_machine = kib_of(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    Some(available_in_group().map_or(of_machine, |of_group| of_group.min(of_machine)))
}

/// What is left of the memory of the control group; `None` without a limit.
fn available_in_group() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let dir = std::path::Path::new("/sys/fs/cgroup").join(path);
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
    left_in_group(&read("memory.max")?, &read("memory.current")?, &read("memory.stat")?)
}

/// What is left of `memory.max`: pages of files that were not used lately are given up.
fn left_in_group(max: &str, current: &str, stat: &str) -> Option<u64> {
    let bytes = |text: &str| text.trim().parse::<u64>().ok();
    let inactive = stat.lines().find_map(|line| bytes(line.strip_prefix("inactive_file ")?));
    Some(bytes(max)?.saturating_sub(bytes(current)?.saturating_sub(inactive.unwrap_or_default())))
}

/// `VmRSS` of a text like `/proc/self/status`, whose unit is KiB (`proc_pid_status(5)`).
fn parse_resident_bytes(status: &str) -> Option<u64> {
    kib_of(status, "VmRSS:")
}

/// The value of a line that begins with `name`, in bytes.
fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
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
        assert_eq!(kib_of("MemFree: 5 kB\nMemAvailable:  7 kB\n", "MemAvailable:"), Some(7 * 1024));
        assert!(available_bytes().is_some_and(|bytes| bytes > 100_000));
        assert_eq!(left_in_group("1000\n", "800\n", "anon 500\ninactive_file 300\n"), Some(500));
        assert_eq!(left_in_group("1000", "1200", ""), Some(0));
        assert_eq!(left_in_group("max\n", "1200\n", ""), None);
    }
}
