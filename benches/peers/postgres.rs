//! PostgreSQL, one row per number, over its own wire protocol with prepared statements:
//!
//! - the form people write first: the lowest row whose lease is over, locked with `SKIP LOCKED`;
//! - the best forms found: a search from a random row on, by the primary key, or by an index of the free
//!   rows alone (dearer to change, but its cost does not grow with the fill).

use allotd::bench::transport::Transport;
use std::collections::VecDeque;
use std::ffi::CString;
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use allotd::bench::Protocol;
use allotd::bench::answers::AnswerError;
use allotd::bench::protocol::Received;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rustix::process::Signal;

use super::peer::{
    BoxedTalk, Case, Class, Facts, LEASE, Operation, Peer, REFUSED, RETURN, SUCCESS, next_seed,
};
use super::process::{Process, connect_patiently, free_port};

const PROTOCOL_VERSION: i32 = 196_608;
/// Where the column is in a row of one column: their count and its length come first.
const COLUMN_AT: usize = 6;
const SETTINGS: [&str; 6] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "shared_buffers=1GB",
    "max_connections=200",
    "max_wal_size=8GB",
    "checkpoint_timeout=30min",
];

/// How a free row is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    First,
    RandomStart,
    FreeIndex,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::First => "first form",
            Self::RandomStart => "random start",
            Self::FreeIndex => "free index",
        }
    }

    fn table(self) -> &'static str {
        match self {
            Self::First => "first_form",
            Self::RandomStart => "random_start",
            Self::FreeIndex => "free_index",
        }
    }

    fn lease_sql(self, table: &str) -> String {
        let (set, wanted) = match self {
            Self::First => ("", "leased_until < now()"),
            Self::RandomStart => ("", "id >= $2::bigint AND leased_until < now()"),
            Self::FreeIndex => ("free = false,", "free AND id >= $2::bigint"),
        };
        format!(
            "UPDATE {table} SET {set} leased_until = now() + interval '1 day', token = $1::bigint WHERE id = \
             (SELECT id FROM {table} WHERE {wanted} ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id"
        )
    }

    fn return_sql(self, table: &str) -> String {
        let set = if self == Self::FreeIndex { "free = true," } else { "" };
        format!(
            "UPDATE {table} SET {set} leased_until = '-infinity' WHERE id = $1::bigint AND token = $2::bigint RETURNING id"
        )
    }

    /// A table of `rows` rows of which `percent` are leased.
    fn create_sql(self, table: &str, rows: u64, percent: f64) -> String {
        let (column, value, index) = match self {
            Self::FreeIndex => (
                ", free boolean NOT NULL",
                ", NOT leased",
                format!("CREATE INDEX ON {table} (id) WHERE free;"),
            ),
            _ => ("", "", String::new()),
        };
        format!(
            "CREATE TABLE {table} (id bigint NOT NULL, leased_until timestamptz NOT NULL, token bigint NOT NULL{column}) \
             WITH (fillfactor = 80); \
             INSERT INTO {table} SELECT id, CASE WHEN leased THEN now() + interval '1 day' ELSE '-infinity' END, 0{value} \
             FROM (SELECT id, random() * 100 < {percent} AS leased FROM generate_series(1, {rows}) id) ids; \
             ALTER TABLE {table} ADD PRIMARY KEY (id); {index}"
        )
    }
}

/// One backend.
struct Session(TcpStream);

impl Session {
    fn open(port: u16, commit: &str) -> io::Result<Self> {
        let mut stream = connect_patiently(port);
        let mut body = PROTOCOL_VERSION.to_be_bytes().to_vec();
        let options = format!("-c synchronous_commit={commit}");
        for text in ["user", "postgres", "database", "postgres", "options", &options, ""] {
            body.extend_from_slice(CString::new(text).unwrap().as_bytes_with_nul());
        }
        let length = (body.len() as u32 + 4).to_be_bytes();
        stream.write_all(&[&length[..], &body].concat())?;
        let mut session = Self(stream);
        session.until_ready()?;
        Ok(session)
    }

    /// Reads until the backend is ready: the column of the last row, if there is one. Its errors are errors.
    fn until_ready(&mut self) -> io::Result<Option<Vec<u8>>> {
        let (mut failure, mut column) = (None, None);
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head)?;
            let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
            self.0.read_exact(&mut body)?;
            match head[0] {
                b'E' => failure = Some(String::from_utf8_lossy(&body).replace('\0', " ")),
                b'D' => column = body.get(COLUMN_AT..).map(<[u8]>::to_vec),
                b'Z' => break,
                _ => (),
            }
            // After a failed start nothing more comes.
            if let Some(failure) = failure.as_ref().filter(|failure| failure.contains("FATAL")) {
                return Err(io::Error::other(failure.clone()));
            }
        }
        failure.map_or(Ok(column), |failure| Err(io::Error::other(failure)))
    }

    fn run(&mut self, sql: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        message(&mut out, b'Q', |body| text(body, sql));
        self.0.write_all(&out).unwrap();
        self.until_ready().unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn prepare(&mut self, name: &str, sql: &str) -> io::Result<()> {
        let mut out = Vec::new();
        message(&mut out, b'P', |body| {
            text(body, name);
            text(body, sql);
            body.extend_from_slice(&0_u16.to_be_bytes());
        });
        message(&mut out, b'S', |_| ());
        self.0.write_all(&out)?;
        self.until_ready().map(drop)
    }
}

fn message(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = ((out.len() - start) as u32).to_be_bytes();
    out[start..start + 4].copy_from_slice(&length);
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// Runs a prepared statement.
fn execute(out: &mut Vec<u8>, name: &str, parameters: &[i64]) {
    message(out, b'B', |body| {
        text(body, "");
        text(body, name);
        body.extend_from_slice(&0_u16.to_be_bytes());
        body.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
        for parameter in parameters {
            let mut buffer = itoa::Buffer::new();
            let digits = buffer.format(*parameter).as_bytes();
            body.extend_from_slice(&(digits.len() as u32).to_be_bytes());
            body.extend_from_slice(digits);
        }
        body.extend_from_slice(&0_u16.to_be_bytes());
    });
    message(out, b'E', |body| {
        text(body, "");
        body.extend_from_slice(&0_u32.to_be_bytes());
    });
    message(out, b'S', |_| ());
}

/// Where Debian keeps the programs, or nothing if they are in the path.
pub(crate) fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    programs.filter(|path| path.join("initdb").exists()).max()
}

/// The server with its tables.
pub(crate) struct Postgres {
    process: Process,
    port: u16,
    facts: Facts,
}

impl Postgres {
    pub(crate) fn start(dir: &Path, programs: &Path, rows: u64) -> Self {
        let data = dir.join("postgres");
        fs::create_dir(&data).unwrap();
        let mut initdb = Command::new(programs.join("initdb"));
        initdb.args(["--auth=trust", "--username=postgres", "--no-sync", "-D"]).arg(&data);
        as_a_plain_user(&mut initdb, &data);
        assert!(initdb.stdout(Stdio::null()).status().unwrap().success(), "initdb");
        let (process, port) = Self::serve(dir, programs, &data);
        let mut server = Self { process, port, facts: Facts::default() };
        let mut load_seconds = 0.0;
        for form in [Form::First, Form::RandomStart, Form::FreeIndex] {
            let started = Instant::now();
            server.create(form, form.table(), rows, 0.0);
            if form == Form::RandomStart {
                load_seconds = started.elapsed().as_secs_f64();
            }
        }
        let table_bytes = server.table_bytes();
        let mut session = Session::open(server.port, "on").unwrap();
        session.run("CHECKPOINT");
        drop(session);
        server.process.stop(Signal::INT);
        let started = Instant::now();
        let (process, port) = Self::serve(dir, programs, &data);
        Session::open(port, "on").unwrap();
        let facts = Facts {
            numbers: rows,
            load_seconds: Some(load_seconds),
            restart_seconds: Some(started.elapsed().as_secs_f64()),
            bytes_a_number: Some(table_bytes / rows as f64),
            note: "fewer rows than the others have numbers, for the time loading takes; made by generate_series; bytes are those of table and key on the disk",
        };
        Self { process, port, facts }
    }

    fn serve(dir: &Path, programs: &Path, data: &Path) -> (Process, u16) {
        let port = free_port();
        let mut command = Command::new(programs.join("postgres"));
        command.arg("-D").arg(data).args(["-p", &port.to_string()]);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        as_a_plain_user(&mut command, data);
        let process = Process::start(&mut command, &dir.join("postgres.log"));
        // Refused until the server is ready.
        let started = Instant::now();
        while Session::open(port, "on").is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        (process, port)
    }

    fn create(&self, form: Form, table: &str, rows: u64, percent: f64) {
        let mut session = Session::open(self.port, "off").unwrap();
        session.run(&form.create_sql(table, rows, percent));
        session.run(&format!("VACUUM ANALYZE {table}"));
    }

    /// Bytes on the disk of one table and its key.
    fn table_bytes(&self) -> f64 {
        let mut session = Session::open(self.port, "on").unwrap();
        let size = session.run("SELECT pg_total_relation_size('random_start')").unwrap();
        String::from_utf8(size).unwrap().parse().unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.process.stop(Signal::INT);
    }
}

/// PostgreSQL refuses to run as root: then it runs as the user of the Debian package.
fn as_a_plain_user(command: &mut Command, data: &Path) {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).unwrap();
    let ids: Vec<u32> = line.split(':').skip(2).take(2).map(|id| id.parse().unwrap()).collect();
    std::os::unix::fs::chown(data, Some(ids[0]), Some(ids[1])).unwrap();
    command.uid(ids[0]).gid(ids[1]).current_dir(data);
}

/// One form of a lease with one way to commit.
pub(crate) struct FormOf {
    server: Rc<Postgres>,
    form: Form,
    class: Class,
    table: String,
}

impl FormOf {
    pub(crate) fn new(server: &Rc<Postgres>, form: Form, class: Class) -> Self {
        Self { server: Rc::clone(server), form, class, table: form.table().to_owned() }
    }
}

impl Peer for FormOf {
    fn name(&self) -> String {
        let commit = if self.class == Class::Sync { "on" } else { "off" };
        format!("postgres {}, {commit}", self.form.name())
    }

    fn class(&self) -> Class {
        self.class
    }

    fn facts(&self) -> Facts {
        self.server.facts.clone()
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = vec![Case::new(Operation::Lease, 16, 1), Case::new(Operation::Lease, 64, 1)];
        if self.form != Form::First {
            cases.push(Case::new(Operation::LeaseReturn, 16, 1));
        }
        cases
    }

    /// The first form scans all rows leased before: each round begins with a table as new.
    fn before_round(&self) {
        if self.form == Form::First {
            let mut session = Session::open(self.server.port, "off").unwrap();
            let table = &self.table;
            session.run(&format!("UPDATE {table} SET leased_until = '-infinity' WHERE leased_until > now()"));
            session.run(&format!("VACUUM {table}"));
        }
    }

    fn open(&self, operation: Operation) -> io::Result<(Transport, BoxedTalk)> {
        let commit = if self.class == Class::Sync { "on" } else { "off" };
        let mut session = Session::open(self.server.port, commit)?;
        session.prepare("l", &self.form.lease_sql(&self.table))?;
        session.prepare("r", &self.form.return_sql(&self.table))?;
        let talk = Statements {
            rows: self.server.facts.numbers.cast_signed(),
            random_start: self.form != Form::First,
            returns: operation == Operation::LeaseReturn,
            random: SmallRng::seed_from_u64(next_seed()),
            asked: VecDeque::new(),
            held: VecDeque::new(),
        };
        Ok((session.0.into(), Box::new(talk)))
    }

    fn cpu(&self) -> io::Result<Duration> {
        self.server.process.cpu()
    }

    fn over_time(&self) -> Option<Case> {
        let shown = self.class == Class::None && self.form != Form::FreeIndex;
        shown.then_some(Case::new(Operation::Lease, 16, 1))
    }

    fn fill_case(&self) -> Option<Case> {
        let shown = self.class == Class::None && self.form != Form::First;
        shown.then_some(Case::new(Operation::LeaseReturn, 16, 1))
    }

    fn fill(&mut self, percent: f64) {
        if percent > 0.0 {
            self.table = format!("{}_{}", self.form.table(), (percent * 100.0).round());
            self.server.create(self.form, &self.table, self.server.facts.numbers, percent);
        }
    }
}

/// What a connection sends and reads.
struct Statements {
    rows: i64,
    random_start: bool,
    /// Whether leases are returned.
    returns: bool,
    random: SmallRng,
    /// The calls under way: the token of a lease, none for a return.
    asked: VecDeque<Option<i64>>,
    /// Number and token of leases that are to be returned.
    held: VecDeque<(i64, i64)>,
}

impl Protocol for Statements {
    fn ask(&mut self, out: &mut Vec<u8>) {
        if self.ask_last(out) {
            return;
        }
        let token = self.random.random::<i64>();
        let parameters = [token, self.random.random_range(1..=self.rows)];
        execute(out, "l", &parameters[..if self.random_start { 2 } else { 1 }]);
        self.asked.push_back(Some(token));
    }

    fn ask_last(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((number, token)) = self.held.pop_front() else { return false };
        execute(out, "r", &[number, token]);
        self.asked.push_back(None);
        true
    }

    fn hear<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Received<'a>>, AnswerError> {
        let (mut at, mut row, mut failure) = (0, None, None);
        loop {
            let Some(head) = bytes[at..].first_chunk::<5>() else { return Ok(None) };
            let end = at + 1 + u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let Some(body) = bytes.get(at + 5..end) else { return Ok(None) };
            at = end;
            match head[0] {
                b'D' => row = body.get(COLUMN_AT..),
                b'E' => failure = Some(error_code(body)),
                b'Z' => break,
                _ => (),
            }
        }
        let token = self.asked.pop_front().ok_or(AnswerError::Protocol)?;
        let call = if token.is_some() { LEASE } else { RETURN };
        let number = row.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let Some(number) = number else {
            let code = failure.unwrap_or(b"none");
            return Ok(Some(Received { bytes: at, call, numbers: 0, status: REFUSED, code }));
        };
        if let Some(token) = token.filter(|_| self.returns) {
            self.held.push_back((number, token));
        }
        Ok(Some(Received { bytes: at, call, numbers: 1, status: SUCCESS, code: b"" }))
    }
}

/// The SQLSTATE of an error.
fn error_code(body: &[u8]) -> &[u8] {
    let mut fields = body.split(|byte| *byte == 0);
    fields.find_map(|field| field.strip_prefix(b"C")).unwrap_or(b"error")
}
