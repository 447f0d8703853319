//! Servers as processes: pinned, measured, ended.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use allotd::bench::cpu;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Where servers run; where this process does.
pub(crate) const SERVER_CORE: usize = 0;
pub(crate) const CLIENT_CORE: usize = 1;
/// Starting, and ending, takes a server no longer than this: Redis reads and writes all its numbers.
const PATIENCE: Duration = Duration::from_secs(300);

/// Places of the page faults without and with the disk in `/proc/…/stat`, counted from the field after the
/// program's name.
const FAULT_FIELDS: [usize; 2] = [7, 9];

static SIGNALLED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Pins this thread, and the processes and threads it starts from now on, to these cores.
fn run_on(cores: &[usize]) {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    sched_setaffinity(None, &set).unwrap();
}

/// This process is the client from now on.
pub(crate) fn run_as_client() {
    run_on(&[CLIENT_CORE]);
}

/// Lets SIGINT and SIGTERM end the run by a panic of [`check_signals`], so that all servers are ended and
/// their data is removed. A second one ends this process at once.
pub(crate) fn end_at_signals() {
    let flag = SIGNALLED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(flag)).unwrap();
        signal_hook::flag::register(signal, Arc::clone(flag)).unwrap();
    }
}

/// To be called wherever the run may end.
pub(crate) fn check_signals() {
    let signalled = SIGNALLED.get().is_some_and(|flag| flag.load(Ordering::Relaxed));
    assert!(!signalled, "ended by a signal");
}

/// See [`Process::kernel_counts`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct KernelCounts {
    /// Page faults that needed no disk.
    pub(crate) page_faults: u64,
    /// Page faults that waited for the disk: the page had been reclaimed.
    pub(crate) disk_faults: u64,
    /// How often another thread got the core, voluntarily or not.
    pub(crate) switches: u64,
}

/// A process with its children; ended when dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it on the servers' core, with its output in `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let out = fs::File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        Self::spawn(command, &[SERVER_CORE])
    }

    fn spawn(command: &mut Command, cores: &[usize]) -> Self {
        run_on(cores);
        let child = command.spawn();
        run_on(&[CLIENT_CORE]);
        Self { child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")) }
    }

    /// Starts a server that says where it listens, as allotd does.
    pub(crate) fn start_listening(command: &mut Command, log: &Path) -> (Self, SocketAddr) {
        Self::start_listening_on(&[SERVER_CORE], command, log)
    }

    /// As [`Self::start_listening`], on these cores.
    pub(crate) fn start_listening_on(
        cores: &[usize],
        command: &mut Command,
        log: &Path,
    ) -> (Self, SocketAddr) {
        let errors = fs::File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let mut process = Self::spawn(command, cores);
        let mut line = String::new();
        BufReader::new(process.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit(['/', ' ']).next().unwrap().parse();
        let log = || fs::read_to_string(log).unwrap_or_default();
        (process, address.unwrap_or_else(|_| panic!("{command:?} did not start: {line:?} {}", log())))
    }

    /// Processor time of the process and its children so far.
    pub(crate) fn cpu(&self) -> std::io::Result<Duration> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        // A child may have ended since it was listed.
        let of_children: Duration = children.filter_map(|pid| cpu::of_process(pid).ok()).sum();
        Ok(cpu::of_process(pid)? + of_children)
    }

    /// Resident memory of the process, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }

    /// What its threads had to do with the kernel so far.
    pub(crate) fn kernel_counts(&self) -> KernelCounts {
        let pid = self.child.id();
        let [page_faults, disk_faults] = page_faults(&format!("/proc/{pid}/stat"));
        let mut counts = KernelCounts { page_faults, disk_faults, switches: 0 };
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            // A thread may have ended since it was listed.
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
            let switches = status.lines().filter(|line| line.contains("voluntary_ctxt_switches"));
            let switches = switches.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            counts.switches += switches.sum::<u64>();
        }
        counts
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self, signal: Signal) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        // It cannot have gone before it is waited for.
        let _ = kill_process(Pid::from_child(&self.child), signal);
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop(Signal::TERM);
    }
}

/// Page faults without and with the disk, of a process or a thread by its file `stat`.
pub(crate) fn page_faults(stat_file: &str) -> [u64; 2] {
    let stat = fs::read_to_string(stat_file).unwrap();
    // The name of the program, which ends with the last bracket, may hold spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    FAULT_FIELDS.map(|field| fields[field].parse().unwrap())
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Connects as soon as somebody listens.
pub(crate) fn connect_patiently(port: u16) -> TcpStream {
    let started = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => {
                stream.set_nodelay(true).unwrap();
                return stream;
            }
            Err(error) if started.elapsed() > PATIENCE => panic!("nobody listens on {port}: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Whether a program is installed; if not, prints how to install it.
pub(crate) fn installed(program: &str, package: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        println!("SKIPPED {package}: {program} is missing: apt-get install -y {package}");
    }
    found.is_ok()
}
