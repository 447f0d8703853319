//! How many instructions a plain lease takes in the server's process, against a bare hyper answer of the same
//! length: a figure that does not depend on what else the machine does. Fails if the lease takes more than
//! [`MAX_RATIO`] times the instructions, a plain return more than [`MAX_RETURN_RATIO`] times those of the lease, a
//! lease in a pool with a list and hours more than [`MAX_HOURS_RATIO`] times those of one without, or a lease for a
//! holder more than [`MAX_HOLDER_RATIO`] times those of one in a pool without holders.
//!
//! `cargo bench --bench instructions`. Needs valgrind, whose callgrind counts.

#![allow(clippy::unwrap_used, missing_docs)]

mod bare;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};

/// Instructions of a lease whose token is checked per lease whose token is not looked at: the check should take 2 %.
const MAX_TOKEN_RATIO: f64 = 1.04;
/// Instructions of a lease per instruction of the bare answer, with a margin for other machines. The aim is 1.7.
const MAX_RATIO: f64 = 1.80;
/// Instructions of a plain return per instruction of a plain lease. The aim is 1.1.
const MAX_RETURN_RATIO: f64 = 1.25;
/// Instructions of a lease where a list and hours are in use per lease where they are not: they should take 3 %.
const MAX_HOURS_RATIO: f64 = 1.06;
/// Instructions of a lease for a holder per lease in a pool that tracks none: it should take 8 %.
const MAX_HOLDER_RATIO: f64 = 1.10;
const ALLOTD: &str = env!("CARGO_BIN_EXE_allotd");
const NUMBERS: &str = "100000";
const WITHOUT_JOURNAL: [&str; 2] = ["--durability", "none"];
const WARM_UP_CALLS: usize = 1_600;
const CALLS: usize = 16_000;
/// Requests in flight: enough that the answers, not the waiting, are counted.
const DEPTH: usize = 16;
const LEASE: &[u8] = b"POST /v1/pools/demo/lease HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// A pool of as many numbers, and one of twice as many for leases in hours: one in two of its ranges is open.
const CAMP_NUMBERS: [&str; 2] = ["79020000000-79020099999", "79020000000-79020199999"];
const CAMP_LEASE: &[u8] = b"POST /v1/pools/camp/lease HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Ranges of the larger pool that have a time zone each.
const CAMP_RANGES: u64 = 1_000;
const CAMP_RANGE_NUMBERS: u64 = 200;
/// Zones of alternate prefixes. At no time is it the same hour in both.
const CAMP_ZONES: [&str; 2] = ["Etc/UTC", "Etc/GMT-6"];
/// Two leases with bodies, one of which names a holder.
const TTL_BODY: &str = r#"{"ttl":300}"#;
const HOLDER_BODY: &str = r#"{"ttl":300,"holder":"c-17"}"#;
/// Numbers of the list: every other one from here on, a few of them the pool's.
const LISTED: std::ops::Range<u64> = 79_000_002_000..79_020_002_000;
/// As long as the answer to [`LEASE`].
const BODY: &str = r#"{"leases":[{"number":79022961123,"token":"n0uKAMSBhPA","generation":1,"expires_at":"2026-11-25T15:32:51Z","expires_in":300}]}"#;

/// What the calls are.
#[derive(Clone, Copy, PartialEq)]
enum Calls<'a> {
    /// This request, again and again.
    Of(&'a [u8]),
    /// Returns of as many numbers, which are leased before.
    Returns,
}

/// Counts the same daemon in different uses, each with new data.
struct Daemon<'a> {
    dir: &'a Path,
    data: &'a str,
}

impl Daemon<'_> {
    /// Instructions of one answer after `prepare` has made other calls, of a daemon with these flags as well.
    fn count(
        &self,
        name: &str,
        flags: &[&str],
        prepare: impl FnOnce(&mut TcpStream),
        calls: Calls<'_>,
    ) -> f64 {
        let demo =
            ["demo", "--numbers", NUMBERS, "--listen", "127.0.0.1:0", "--workers", "1", "--data", self.data];
        let args = [demo.as_slice(), flags].concat();
        let counted = count_after(&self.dir.join(name), Path::new(ALLOTD), &args, prepare, calls);
        fs::remove_dir_all(self.data).unwrap();
        counted
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == bare::FLAG) {
        bare::serve(&Bytes::from(args[at + 1].clone()));
        return ExitCode::SUCCESS;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let daemon = Daemon { dir: dir.path(), data: data.to_str().unwrap() };
    for check in [plain, list_and_hours, holders, tokens] {
        if let Err(message) = check(&daemon) {
            println!("FAILED: {message}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Leases and returns without a body, beside a bare answer.
fn plain(daemon: &Daemon<'_>) -> Result<(), String> {
    let this = std::env::current_exe().unwrap();
    let bare = count_after(&daemon.dir.join("bare"), &this, &[bare::FLAG, BODY], |_| (), Calls::Of(LEASE));
    println!("a bare answer: {bare:.0} instructions");
    let mut is_too_much = false;
    for durability in ["none", "sync"] {
        let flags = ["--durability", durability];
        let lease = daemon.count(durability, &flags, |_| (), Calls::Of(LEASE));
        println!("a lease ({durability}): {lease:.0} instructions, {:.3} of a bare answer's", lease / bare);
        let returned = daemon.count(durability, &flags, |_| (), Calls::Returns);
        println!("a return ({durability}): {returned:.0} instructions, {:.3} of a lease's", returned / lease);
        is_too_much |=
            durability == "none" && (lease / bare > MAX_RATIO || returned / lease > MAX_RETURN_RATIO);
    }
    let message = format!(
        "a lease may have {MAX_RATIO} of a bare answer's and a return {MAX_RETURN_RATIO} of a lease's: find what \
         they do that they did not do before"
    );
    if is_too_much { Err(message) } else { Ok(()) }
}

/// Leases in a pool with a list and hours.
fn list_and_hours(daemon: &Daemon<'_>) -> Result<(), String> {
    let camp = |name: &str, in_use: bool| {
        let prepare = |stream: &mut TcpStream| make_camp(stream, in_use);
        let lease = daemon.count(name, &WITHOUT_JOURNAL, prepare, Calls::Of(CAMP_LEASE));
        println!("a lease {name} a list of 10 million and hours of 1,000 ranges: {lease:.0} instructions");
        lease
    };
    let (without, with) = (camp("without", false), camp("with", true));
    println!("the list and the hours: {:.4} of a lease", with / without - 1.0);
    within(with / without, MAX_HOURS_RATIO, "a lease with a list and hours")
}

/// Leases in pools that track holders or not.
fn holders(daemon: &Daemon<'_>) -> Result<(), String> {
    let of_body = |name: &str, tracked: &str, body: &str| {
        let prepare = |stream: &mut TcpStream| make_tracking(stream, tracked);
        let lease = daemon.count(name, &WITHOUT_JOURNAL, prepare, Calls::Of(lease_with(body).as_bytes()));
        println!("a lease with a body ({name}): {lease:.0} instructions");
        lease
    };
    let untracked = of_body("holders not tracked", "false", TTL_BODY);
    let unnamed = of_body("holders tracked", "true", TTL_BODY);
    let named = of_body("for a holder", "true", HOLDER_BODY);
    println!("holders that are not used: {:.4} of a lease", unnamed / untracked - 1.0);
    println!("a holder: {:.4} of a lease", named / untracked - 1.0);
    within(named / untracked, MAX_HOLDER_RATIO, "a lease for a holder")
}

/// Leases whose token is looked at or not.
fn tokens(daemon: &Daemon<'_>) -> Result<(), String> {
    let (token, tokens) = issue(daemon.dir);
    let shown = format!(
        "POST /v1/pools/demo/lease HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let of_token = |name: &str, flags: &[&str]| {
        let flags = [WITHOUT_JOURNAL.as_slice(), flags].concat();
        let lease = daemon.count(name, &flags, |_| (), Calls::Of(shown.as_bytes()));
        println!("a lease with a token ({name}): {lease:.0} instructions");
        lease
    };
    let ignored = of_token("ignored", &[]);
    let checked = of_token("checked", &["--tokens", &tokens]);
    println!("the check of a token: {:.4} of a lease", checked / ignored - 1.0);
    within(checked / ignored, MAX_TOKEN_RATIO, "a lease whose token is checked")
}

fn within(ratio: f64, limit: f64, what: &str) -> Result<(), String> {
    if ratio > limit { Err(format!("{what} takes more than {limit} of one without")) } else { Ok(()) }
}

/// A client's token, and the path of the tokens file that has it.
fn issue(dir: &Path) -> (String, String) {
    let (secret, tokens) = (dir.join("token"), dir.join("tokens.toml"));
    let args = ["token", "new", "shop", "--role", "client", "--pools", "*", "--out"];
    let output = Command::new(ALLOTD).args(args).arg(&secret).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::write(&tokens, output.stdout).unwrap();
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).unwrap();
    (fs::read_to_string(secret).unwrap().trim().to_owned(), tokens.to_str().unwrap().to_owned())
}

/// Creates a pool of [`CAMP_NUMBERS`], with a list and hours that are in use or without.
fn make_camp(stream: &mut TcpStream, in_use: bool) {
    let mut query = "";
    if in_use {
        query = "?blocked_by=national";
        let mut bytes = Vec::new();
        let listed = roaring::RoaringTreemap::from_sorted_iter(LISTED.step_by(2)).unwrap();
        listed.serialize_into(&mut bytes).unwrap();
        send(stream, "PUT", "/v1/lists/national", "application/octet-stream", &bytes);
    }
    send(
        stream,
        "PUT",
        &format!("/v1/pools/camp{query}"),
        "text/plain",
        CAMP_NUMBERS[usize::from(in_use)].as_bytes(),
    );
    if in_use {
        let mut table = "first,last,zones\n".to_owned();
        for (range, zone) in (0..CAMP_RANGES).zip(CAMP_ZONES.into_iter().cycle()) {
            let first = 79_020_000_000 + range * CAMP_RANGE_NUMBERS;
            writeln!(table, "{first},{},{zone}", first + CAMP_RANGE_NUMBERS - 1).unwrap();
        }
        send(stream, "PUT", "/v1/pools/camp/zones", "text/csv", table.as_bytes());
        // Open for some hours around now in the first zone only.
        let hour = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).hour();
        let time = |hour: i8| format!("{:02}:00", hour.rem_euclid(24));
        let rule = serde_json::json!({"days": "mon-sun", "from": time(hour - 1), "to": time(hour + 3)});
        let body = serde_json::json!({"hours": {"rules": [rule]}}).to_string();
        send(stream, "PATCH", "/v1/pools/camp", "application/json", body.as_bytes());
        let open = send(stream, "GET", "/v1/pools/camp/hours", "application/json", b"");
        assert!(open.contains("\"open\":100000,"), "{open}");
    }
}

/// Creates the pool of [`lease_with`], which tracks holders or not.
fn make_tracking(stream: &mut TcpStream, tracked: &str) {
    let path = format!("/v1/pools/camp?holders={tracked}");
    send(stream, "PUT", &path, "text/plain", CAMP_NUMBERS[0].as_bytes());
}

/// A lease's request with this body.
fn lease_with(body: &str) -> String {
    let head = "POST /v1/pools/camp/lease HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Makes a call that succeeds, and returns the whole answer.
fn send(stream: &mut TcpStream, method: &str, path: &str, content_type: &str, body: &[u8]) -> String {
    let (head, length) = (format!("{method} {path} HTTP/1.1\r\nHost: localhost"), body.len());
    write!(stream, "{head}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n").unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    loop {
        let mut buffer = [0; 1 << 14];
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the server ended: {answer}");
        answer.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() >= length.parse().unwrap() {
            assert!(head.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
            return answer;
        }
    }
}

/// Instructions of one answer of a server, after `prepare` has made other calls.
fn count_after(
    out: &Path,
    program: &Path,
    args: &[&str],
    prepare: impl FnOnce(&mut TcpStream),
    calls: Calls<'_>,
) -> f64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--instr-atstart=no"]);
    valgrind.arg(format!("--callgrind-out-file={}", out.display())).arg(program).args(args);
    let log = out.with_extension("log");
    valgrind.stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
    let mut server = valgrind.spawn().expect("valgrind is installed (apt-get install valgrind)");
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    let address = loop {
        let mut line = String::new();
        let read = stdout.read_line(&mut line).unwrap();
        assert!(read > 0, "the server ended: {}", fs::read_to_string(&log).unwrap());
        if let Some(address) = line.trim().strip_prefix("listening on ") {
            break address.trim_start_matches("http://").to_owned();
        }
    };
    let mut stream = TcpStream::connect(address).unwrap();
    prepare(&mut stream);
    let requests = match calls {
        Calls::Of(request) => vec![request.to_vec(); WARM_UP_CALLS + CALLS],
        Calls::Returns => returns(&mut stream),
    };
    let (warm_up, counted) = requests.split_at(WARM_UP_CALLS);
    call(&mut stream, warm_up);
    instrumentation(&server, "on");
    call(&mut stream, counted);
    instrumentation(&server, "off");
    kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    server.wait().unwrap();
    let text = fs::read_to_string(out).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
    total.parse::<f64>().unwrap() / CALLS as f64
}

fn instrumentation(server: &Child, state: &str) {
    let mut control = Command::new("callgrind_control");
    control.args(["--instr", state]).arg(server.id().to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(control.status().unwrap().success(), "callgrind_control works");
}

/// Leases numbers, and builds a plain return of each.
fn returns(stream: &mut TcpStream) -> Vec<Vec<u8>> {
    let body = format!("{{\"count\":{}}}", WARM_UP_CALLS + CALLS);
    let head = "POST /v1/pools/demo/lease HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"]}") {
        let mut buffer = vec![0; 1 << 16];
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0 && (!answer.is_empty() || buffer.starts_with(b"HTTP/1.1 200")), "another answer");
        answer.extend_from_slice(&buffer[..read]);
    }
    let text = String::from_utf8(answer).unwrap();
    let (_, leases) = text.split_once("\r\n\r\n").unwrap();
    let leases: serde_json::Value = serde_json::from_str(leases).unwrap();
    let one = |lease: &serde_json::Value| {
        let token = lease["token"].as_str().unwrap();
        let path = format!("/v1/pools/demo/numbers/{}/return", lease["number"]);
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nLease-Token: {token}\r\n\r\n").into_bytes()
    };
    leases["leases"].as_array().unwrap().iter().map(one).collect()
}

/// Makes calls, [`DEPTH`] at a time; each answer is as long as the first.
fn call(stream: &mut TcpStream, requests: &[Vec<u8>]) {
    let mut buffer = vec![0; 1 << 16];
    let (first, others) = requests.split_first().unwrap();
    let mut one_answer = 0;
    for turn in std::iter::once(std::slice::from_ref(first)).chain(others.chunks(DEPTH)) {
        stream.write_all(&turn.concat()).unwrap();
        let mut received = 0;
        while received < one_answer * turn.len() || received == 0 {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0 && buffer.starts_with(b"HTTP/1.1 200"), "another answer");
            received += read;
        }
        if one_answer == 0 {
            one_answer = received;
        }
    }
}
