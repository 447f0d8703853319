//! The daemon's own workers in this process, on an engine whose files are in memory, without a listener.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use allotd::engine::operations::import::NumberSource;
use allotd::engine::{Engine, EngineConfig};
use allotd::http::limits::Limits;
use allotd::http::server::control::Control;
use allotd::http::server::{self, ServerConfig};
use allotd::journal::{Durability, MIN_FILE_BYTES};
use allotd::numbers::list::ListOptions;

const POOL: &str = "ru";
const NUMBERS: &str = "79000000000-79000999999\n";
/// A pool that is nearly used up is made again.
const LEAST_AVAILABLE: u64 = 100_000;
/// Pools that a call may have made.
const MAX_POOLS: usize = 4;

pub struct Server {
    engine: Arc<Engine>,
    control: Control,
    /// It serves until the process ends.
    _running: Mutex<server::Server>,
}

impl Server {
    /// The one of this process.
    pub fn of_process() -> &'static Self {
        static SERVER: LazyLock<Server> = LazyLock::new(Server::start);
        &SERVER
    }

    fn start() -> Self {
        let parent = if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
        let directory = tempfile::tempdir_in(parent).unwrap().keep();
        let no_directory = directory.join("file");
        fs::write(&no_directory, "").unwrap();
        let config = EngineConfig {
            durability: Durability::None,
            journal_file_bytes: MIN_FILE_BYTES,
            max_numbers: Some(4_000_000),
            backup_dir: no_directory.join("backups"),
            ..EngineConfig::new(directory.join("data"), server::HANDLES_PER_WORKER)
        };
        let engine = Engine::open(&config).unwrap();
        let limits = Limits { upload_bytes: 1 << 20, ..Limits::default() };
        let config = ServerConfig {
            workers: 1,
            max_connections: 1_000,
            allow_hosts: Vec::new(),
            limits,
            tls: None,
            authority: None,
            registry: Arc::default(),
            cluster: None,
            audit: std::sync::Arc::default(),
        };
        let running = server::Server::start(Vec::new(), Arc::clone(&engine), config).unwrap();
        let control = running.control().clone();
        let server = Self { engine, control, _running: Mutex::new(running) };
        server.settle();
        server
    }

    pub fn connect(&self) -> UnixStream {
        let (client, stream) = UnixStream::pair().unwrap();
        self.control.serve_stream(stream);
        client
    }

    /// How many leases there were of the pool; `None` if there is no pool.
    pub fn leases(&self) -> Option<u64> {
        self.engine.pool(POOL).map(|pool| pool.totals().leases)
    }

    /// Makes the pool as it was at the start, if a call has changed much of it.
    pub fn settle(&self) {
        for pool in self.engine.pools() {
            let is_spent = pool.name().as_str() == POOL && pool.counts().available < LEAST_AVAILABLE;
            if is_spent || self.engine.pool_count() > MAX_POOLS {
                let _ = self.engine.delete_pool(pool.name().as_str(), true);
            } else if pool.is_paused() {
                pool.resume().unwrap();
            }
        }
        if self.engine.pool(POOL).is_none() {
            let mut input = NUMBERS.as_bytes();
            let source =
                NumberSource::List { input: &mut input, options: ListOptions::default(), progress: &|_| () };
            let created = self.engine.create_pool(&POOL.parse().unwrap(), Default::default(), source);
            created.unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
