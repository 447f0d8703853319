//! A real file system on a disk that records its writes and flushes.
//!
//! ext4, on a loop device, over a file that `qemu-storage-daemon` exports through FUSE, whose driver
//! `blklogwrites` logs every write and flush. Needs root and Debian's packages qemu-utils (or
//! qemu-system-common), e2fsprogs and mount. The host's page cache is never synced
//! (`cache.no-flush`): only the log counts.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) const DISK_BYTES: u64 = 256 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

/// Why this machine cannot run the harness.
pub(crate) fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root, to mount file systems".to_owned());
    }
    if !Path::new("/dev/fuse").exists() || !Path::new("/dev/loop-control").exists() {
        return Some("it needs /dev/fuse and /dev/loop-control".to_owned());
    }
    let helped = [
        ("qemu-storage-daemon", "--help", "qemu-utils or qemu-system-common"),
        ("mkfs.ext4", "-V", "e2fsprogs"),
        ("losetup", "--version", "mount"),
    ];
    for (program, question, packages) in helped {
        let Ok(output) = Command::new(program).arg(question).output() else {
            return Some(format!("{program} is missing: install Debian's {packages}"));
        };
        if program == "qemu-storage-daemon" && !String::from_utf8_lossy(&output.stdout).contains("fuse") {
            return Some("this qemu-storage-daemon has no FUSE export".to_owned());
        }
    }
    None
}

/// Runs a command of the system; returns what it printed.
pub(crate) fn system(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("paths of the harness are ASCII")
}

/// A directory for images and logs: in memory where there is such a place.
pub(crate) fn workshop() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("allotd-power-loss-");
    let in_memory = builder.tempdir_in("/dev/shm");
    in_memory.or_else(|_| builder.tempdir()).expect("a directory for the images")
}

/// A mounted file system, unmounted at its end.
#[derive(Debug)]
pub(crate) struct Mount {
    pub path: PathBuf,
}

impl Mount {
    /// Mounts a block device, or an image through a loop device of its own. Short commits, because each
    /// commit of ext4's journal is something to cut at.
    pub(crate) fn new(source: &Path, path: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(path).map_err(|error| error.to_string())?;
        let options = if source.starts_with("/dev/loop") { "commit=1" } else { "loop,commit=1" };
        system("mount", &["-t", "ext4", "-o", options, text(source), text(path)])?;
        Ok(Self { path: path.to_owned() })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = system("umount", &[text(&self.path)]) {
            eprintln!("{error}");
            let _ = system("umount", &["--lazy", text(&self.path)]);
        }
    }
}

#[derive(Debug)]
struct LoopDevice(PathBuf);

impl Drop for LoopDevice {
    fn drop(&mut self) {
        if let Err(error) = system("losetup", &["--detach", text(&self.0)]) {
            eprintln!("{error}");
        }
    }
}

/// The process that exports the disk and writes the log.
#[derive(Debug)]
struct StorageDaemon {
    child: Child,
    export: PathBuf,
}

impl StorageDaemon {
    fn start(workshop: &Path) -> Self {
        let path = |name: &str| workshop.join(name);
        let (disk, log, export) = (path("disk"), path("log"), path("export"));
        for (file, length) in [(&disk, DISK_BYTES), (&log, 0), (&export, 0)] {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(file);
            file.and_then(|file| file.set_len(length)).expect("a file of the harness");
        }
        let file = |name: &str, path: &Path| {
            format!("driver=file,node-name={name},filename={},cache.no-flush=on", text(path))
        };
        let child = Command::new("qemu-storage-daemon")
            .args(["--blockdev", &file("below", &disk), "--blockdev", &file("written", &log)])
            .args(["--blockdev", "driver=blklogwrites,node-name=disk,file=below,log=written"])
            .arg("--export")
            .arg(format!("type=fuse,id=export,node-name=disk,writable=on,mountpoint={}", text(&export)))
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu-storage-daemon starts");
        Self { child, export }
    }

    /// The export is there when the empty file has turned into the disk.
    fn wait(&mut self) {
        let started = Instant::now();
        while self.export.metadata().map_or(0, |metadata| metadata.len()) != DISK_BYTES {
            let ended = self.child.try_wait().expect("the storage daemon's status");
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "qemu-storage-daemon exports nothing");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for StorageDaemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let started = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if started.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                let _ = system("umount", &["--lazy", text(&self.export)]);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The whole stack. Fields are dropped from the top of it to the bottom.
#[derive(Debug)]
pub(crate) struct LoggedDisk {
    pub mount: Mount,
    _device: LoopDevice,
    _daemon: StorageDaemon,
    pub log: LogPosition,
}

impl LoggedDisk {
    /// A new disk with a new file system.
    pub(crate) fn new(workshop: &Path) -> Self {
        Self::over(workshop, true)
    }

    /// The disk that the workshop's file `disk` holds, as a machine finds it that comes up again.
    pub(crate) fn reopen(workshop: &Path) -> Self {
        Self::over(workshop, false)
    }

    fn over(workshop: &Path, is_new: bool) -> Self {
        let mut daemon = StorageDaemon::start(workshop);
        daemon.wait();
        let device = system("losetup", &["--find", "--show", text(&daemon.export)]).expect("a loop device");
        let device = LoopDevice(device.into());
        if is_new {
            // Everything is written now: nothing is left for a thread of the kernel to do later.
            let options = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
            system("mkfs.ext4", &["-q", "-b", "4096", "-J", "size=8", "-E", options, text(&device.0)])
                .expect("a file system");
        }
        let mount = Mount::new(&device.0, &workshop.join("mounted")).expect("the logged disk mounts");
        let log = LogPosition(workshop.join("log"));
        Self { mount, _device: device, _daemon: daemon, log }
    }
}

/// Where the log ends now: what orders answers and requests to the disk.
///
/// An answer's position is read after the answer came: every request to the disk that the answer relied on
/// is logged by then and ends at or before it. A call's position is read before it is sent: no
/// request logged before that position depends on the call.
#[derive(Debug, Clone)]
pub(crate) struct LogPosition(PathBuf);

impl LogPosition {
    pub(crate) fn now(&self) -> u64 {
        self.0.metadata().expect("the log is there").len()
    }
}
