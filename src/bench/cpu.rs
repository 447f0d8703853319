//! Processor time of processes.

use std::time::Duration;
use std::{fs, io};

use rustix::time::{ClockId, clock_gettime};

/// Processor time of all threads of a process so far, user and system.
pub fn of_process(pid: u32) -> io::Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        match fs::read_to_string(task?.path().join("schedstat")) {
            Ok(text) => nanoseconds += first_number(&text)?,
            // The thread has ended since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

fn first_number(text: &str) -> io::Result<u64> {
    let number = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "schedstat is not understood"))
}

/// Processor time of this process so far.
pub fn of_this_process() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use super::*;

    #[test]
    fn work_takes_processor_time() {
        let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let started = Instant::now();
        while of_process(busy.id()).unwrap() < Duration::from_millis(20) {
            assert!(started.elapsed() < Duration::from_secs(20));
        }
        busy.kill().unwrap();
        busy.wait().unwrap();
        let before = of_this_process();
        while of_this_process() == before {
            std::hint::spin_loop();
        }
        assert!(of_process(u32::MAX).is_err());
    }
}
