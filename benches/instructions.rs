//! How many instructions a plain lease takes in the server's process, against a bare hyper answer of the same
//! length: a figure that does not depend on what else the machine does. Fails if the lease takes more than
//! [`MAX_RATIO`] times the instructions, a plain return more than [`MAX_RETURN_RATIO`] times those of the lease, or a
//! lease in a pool with a list and hours more than [`MAX_HOURS_RATIO`] times those of one without.
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
const ALLOTD: &str = env!("CARGO_BIN_EXE_allotd");
const NUMBERS: &str = "100000";
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

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == bare::FLAG) {
        bare::serve(&Bytes::from(args[at + 1].clone()));
        return ExitCode::SUCCESS;
    }
    let dir = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    let bare = count(&dir.path().join("bare"), &this, &[bare::FLAG, BODY], Calls::Of(LEASE));
    let data = dir.path().join("data");
    let demo = ["demo", "--numbers", NUMBERS, "--listen", "127.0.0.1:0", "--workers", "1", "--data"];
    let demo = [demo.as_slice(), &[data.to_str().unwrap()]].concat();
    let of_daemon = |durability: &str, calls: Calls<'_>| {
        let args = [demo.as_slice(), &["--durability", durability]].concat();
        let counted = count(&dir.path().join(durability), Path::new(ALLOTD), &args, calls);
        fs::remove_dir_all(&data).unwrap();
        counted
    };
    println!("a bare answer: {bare:.0} instructions");
    let mut is_too_much = false;
    for durability in ["none", "sync"] {
        let lease = of_daemon(durability, Calls::Of(LEASE));
        println!("a lease ({durability}): {lease:.0} instructions, {:.3} of a bare answer's", lease / bare);
        let returned = of_daemon(durability, Calls::Returns);
        println!("a return ({durability}): {returned:.0} instructions, {:.3} of a lease's", returned / lease);
        if durability == "none" {
            is_too_much = lease / bare > MAX_RATIO || returned / lease > MAX_RETURN_RATIO;
        }
    }
    if is_too_much {
        println!(
            "FAILED: a lease may have {MAX_RATIO} of a bare answer's and a return {MAX_RETURN_RATIO} of a \
             lease's: find what they do that they did not do before"
        );
        return ExitCode::FAILURE;
    }
    let args = [demo.as_slice(), &["--durability", "none"]].concat();
    let camp = |name: &str, in_use: bool| {
        let prepare = |stream: &mut TcpStream| make_camp(stream, in_use);
        let out = dir.path().join(name);
        let lease = count_after(&out, Path::new(ALLOTD), &args, prepare, Calls::Of(CAMP_LEASE));
        fs::remove_dir_all(&data).unwrap();
        println!("a lease {name} a list of 10 million and hours of 1,000 ranges: {lease:.0} instructions");
        lease
    };
    let (without, with) = (camp("without", false), camp("with", true));
    println!("the list and the hours: {:.4} of a lease", with / without - 1.0);
    if with / without > MAX_HOURS_RATIO {
        println!("FAILED: a lease with a list and hours takes more than {MAX_HOURS_RATIO} of one without");
        return ExitCode::FAILURE;
    }
    let (token, tokens) = issue(dir.path());
    let shown = format!(
        "POST /v1/pools/demo/lease HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let of_token = |name: &str, flags: &[&str]| {
        let args = [demo.as_slice(), &["--durability", "none"], flags].concat();
        let lease = count(&dir.path().join(name), Path::new(ALLOTD), &args, Calls::Of(shown.as_bytes()));
        fs::remove_dir_all(&data).unwrap();
        println!("a lease with a token ({name}): {lease:.0} instructions");
        lease
    };
    let ignored = of_token("ignored", &[]);
    let checked = of_token("checked", &["--tokens", &tokens]);
    println!("the check of a token: {:.4} of a lease", checked / ignored - 1.0);
    if checked / ignored > MAX_TOKEN_RATIO {
        println!("FAILED: a lease whose token is checked takes more than {MAX_TOKEN_RATIO} of one without");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
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

/// Instructions of one answer of a server.
fn count(out: &Path, program: &Path, args: &[&str], calls: Calls<'_>) -> f64 {
    count_after(out, program, args, |_| (), calls)
}

/// As [`count`], after `prepare` has made other calls.
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
