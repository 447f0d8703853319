//! What a durable write of the journal costs, one after another from one thread, by the ways there are to do it.
//!
//! `cargo bench --bench journal_sync`; `ALLOTD_BENCH_DIR` names a directory on the disk to measure, else it is
//! cargo's own. The ways alternate, so that other load on the disk affects all of them.

#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, clippy::unwrap_used, missing_docs)]

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use allotd::disk::PageBuffer;
use io_uring::squeue::Flags;
use io_uring::{IoUring, opcode, types};
use rustix::fs::{FallocateFlags, OFlags};

const SIZES: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];
/// A file is written again from its beginning at this length.
const FILE_BYTES: u64 = 64 << 20;
/// How long each size is measured: about 30 s in all.
const TIME_PER_SIZE: Duration = Duration::from_secs(10);
/// Writes of one way before the next one.
const TURN_WRITES: u64 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Append,
    Unwritten,
    Overwrite,
    Direct,
    DirectSynced,
    RingLinked,
    RingDirect,
}

const WAYS: [(Way, &str); 7] = [
    (Way::Append, "append, fdatasync"),
    (Way::Unwritten, "allocated only, fdatasync"),
    (Way::Overwrite, "written blocks, fdatasync"),
    (Way::Direct, "written blocks, O_DIRECT, fdatasync"),
    (Way::DirectSynced, "written blocks, O_DIRECT|O_DSYNC"),
    (Way::RingLinked, "written blocks, io_uring write + fsync linked"),
    (Way::RingDirect, "written blocks, io_uring O_DIRECT, RWF_DSYNC"),
];

/// One way on a file of its own.
struct Writer {
    way: Way,
    file: File,
    ring: IoUring,
    position: u64,
}

impl Writer {
    fn new(dir: &Path, way: Way) -> Self {
        let path = dir.join(format!("{way:?}"));
        let plain =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        if !matches!(way, Way::Append | Way::Unwritten) {
            let zeros = vec![0; 1 << 20];
            for at in (0..FILE_BYTES).step_by(zeros.len()) {
                plain.write_all_at(&zeros, at).unwrap();
            }
        }
        plain.sync_all().unwrap();
        let flags = match way {
            Way::Direct | Way::RingDirect => OFlags::DIRECT,
            Way::DirectSynced => OFlags::DIRECT | OFlags::DSYNC,
            _ => OFlags::empty(),
        };
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).custom_flags(flags.bits().cast_signed()).open(&path).unwrap();
        let mut writer = Self { way, file, ring: IoUring::new(8).unwrap(), position: FILE_BYTES };
        writer.begin_again();
        writer
    }

    /// Goes back to the file's beginning; for the ways that measure new blocks, makes its blocks new.
    fn begin_again(&mut self) {
        self.position = 0;
        if matches!(self.way, Way::Append | Way::Unwritten) {
            self.file.set_len(0).unwrap();
            if self.way == Way::Unwritten {
                rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, FILE_BYTES).unwrap();
            }
            self.file.sync_all().unwrap();
        }
    }

    /// Writes after the last write; durable when it returns.
    fn write(&mut self, bytes: &[u8]) {
        let (file, at) = (&self.file, self.position);
        match self.way {
            Way::Append | Way::Unwritten | Way::Overwrite | Way::Direct => {
                file.write_all_at(bytes, at).unwrap();
                file.sync_data().unwrap();
            }
            Way::DirectSynced => file.write_all_at(bytes, at).unwrap(),
            Way::RingLinked | Way::RingDirect => self.write_by_ring(bytes),
        }
        self.position += bytes.len() as u64;
    }

    fn write_by_ring(&mut self, bytes: &[u8]) {
        let fd = types::Fd(self.file.as_raw_fd());
        let write = opcode::Write::new(fd, bytes.as_ptr(), bytes.len() as u32).offset(self.position);
        let entries = if self.way == Way::RingLinked {
            let sync = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
            vec![write.build().flags(Flags::IO_LINK), sync]
        } else {
            vec![write.rw_flags(RWF_DSYNC).build()]
        };
        // SAFETY: the bytes and the file live until all entries are completed, which is waited for here.
        unsafe { self.ring.submission().push_multiple(&entries).unwrap() };
        self.ring.submit_and_wait(entries.len()).unwrap();
        let results: Vec<i32> = self.ring.completion().map(|entry| entry.result()).collect();
        assert_eq!((results.len(), results[0]), (entries.len(), bytes.len() as i32), "{results:?}");
        assert!(results.iter().all(|result| *result >= 0), "{results:?}");
    }
}

/// `RWF_DSYNC` of `linux/fs.h`.
const RWF_DSYNC: i32 = 2;

fn microseconds(times: &mut [Duration], quantile: f64) -> f64 {
    times.sort_unstable();
    let index = ((times.len() - 1) as f64 * quantile).round() as usize;
    times[index].as_secs_f64() * 1e6
}

fn main() {
    let root = std::env::var("ALLOTD_BENCH_DIR").unwrap_or_else(|_| env!("CARGO_TARGET_TMPDIR").to_owned());
    let directory = tempfile::tempdir_in(root).unwrap();
    let mut ways: Vec<_> = WAYS.iter().map(|(way, _)| Writer::new(directory.path(), *way)).collect();
    println!("| bytes | way | writes | p10 µs | p50 µs | p99 µs |\n| --- | --- | --- | --- | --- | --- |");
    for size in SIZES {
        let mut memory = PageBuffer::new(size).unwrap();
        let mut times = vec![Vec::new(); WAYS.len()];
        let started = Instant::now();
        while started.elapsed() < TIME_PER_SIZE {
            let fill = memory[0].wrapping_add(1);
            memory.fill(fill);
            for (writer, times) in ways.iter_mut().zip(&mut times) {
                if writer.position + TURN_WRITES * size as u64 > FILE_BYTES {
                    writer.begin_again();
                }
                for _ in 0..TURN_WRITES {
                    let started = Instant::now();
                    writer.write(&memory[..size]);
                    times.push(started.elapsed());
                }
            }
        }
        for ((_, name), times) in WAYS.iter().zip(&mut times) {
            let writes = times.len();
            let [p10, p50, p99] = [0.1, 0.5, 0.99].map(|quantile| microseconds(times, quantile));
            println!("| {size} | {name} | {writes} | {p10:.0} | {p50:.0} | {p99:.0} |");
        }
    }
}
