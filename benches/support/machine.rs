//! The machine that is measured on.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// A machine with more to do disturbs the measurement.
const QUIET_LOAD_AVERAGE: f64 = 1.0;
/// What statfs calls a file system in memory.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// The load average of the last minute; prints a warning if the machine is busy.
pub(crate) fn load_average_told() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    let load = text.split(' ').next().unwrap().parse().unwrap();
    if load > QUIET_LOAD_AVERAGE {
        println!(
            "The machine is busy (load average {load}): ratios are rough, and the other figures mean little"
        );
    }
    load
}

/// What a reader must know of the machine.
pub(crate) fn describe() -> Value {
    let load = load_average_told();
    let first = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    json!({
        "processor": first("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().unwrap().get(),
        "memory": first("/proc/meminfo", "MemTotal"),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim(),
        "load_average_before": load,
    })
}

/// Fails if files there would be in memory.
pub(crate) fn check_on_disk(dir: &Path) {
    let on_disk = rustix::fs::statfs(dir).unwrap().f_type != TMPFS_MAGIC;
    assert!(on_disk, "{} is in memory: give --dir on a disk", dir.display());
}

/// Disk space available to an ordinary user, in bytes.
pub(crate) fn free_disk_bytes(dir: &Path) -> u64 {
    let stat = rustix::fs::statvfs(dir).unwrap();
    stat.f_bavail * stat.f_frsize
}

/// Memory that can be had without swapping, in bytes.
pub(crate) fn free_memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}
