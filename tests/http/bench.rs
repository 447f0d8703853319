//! `allotd bench` against a real daemon: its figures are the daemon's.

use std::time::Instant;

use crate::support::daemon::{Daemon, allotd, one_line_failure};
use serde_json::Value;

const NUMBERS: u64 = 200_000;

/// More than any machine leases in half a second, so that each call succeeds however fast it is.
const NUMBERS_NEVER_EXHAUSTED: u64 = 50_000_000;

struct Subject {
    daemon: Daemon,
    directory: tempfile::TempDir,
}

impl Subject {
    fn start() -> Self {
        Self::of_numbers(NUMBERS)
    }

    fn of_numbers(numbers: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = format!("127.0.0.1:0,unix:{}", directory.path().join("s").display());
        let mut command = allotd();
        command.args(["serve", "--listen", &socket, "--data"]).arg(directory.path().join("data"));
        let daemon = Daemon::spawn(command).unwrap();
        let numbers = format!("first,last\n1,{numbers}\n");
        let created = daemon.client().send("PUT", "/v1/pools/p?ttl=600", "text/csv", numbers.as_bytes());
        assert_eq!(created.unwrap().status, 201);
        Self { daemon, directory }
    }

    fn stats(&self) -> Value {
        self.daemon.client().call("GET", "/v1/stats").unwrap().json()
    }

    fn bench(&self, flags: &str) -> Value {
        let mut args = vec!["bench", "p", "--json"];
        args.extend(flags.split_ascii_whitespace());
        if !flags.contains("--seconds") {
            args.extend(["--seconds", "0.4", "--warm-up-seconds", "0.1"]);
        }
        serde_json::from_str(&self.daemon.ok(&args)).unwrap()
    }
}

/// Operations and numbers of one call over the whole run.
fn of_run(report: &Value, call: &str) -> (u64, u64) {
    let answers = report["answers"].as_array().unwrap().iter().filter(|answer| answer["call"] == call);
    answers.fold((0, 0), |(operations, numbers), answer| {
        let member = |name: &str| answer[name].as_u64().unwrap();
        (operations + member("operations_of_run"), numbers + member("numbers_of_run"))
    })
}

/// How much a count of the stats grew.
fn grown(before: &Value, after: &Value, path: &str) -> u64 {
    let count = |stats: &Value| stats.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    count(after) - count(before)
}

fn assert_is_whole(report: &Value) {
    let count = |name: &str| report[name].as_u64().unwrap();
    assert!(count("operations") > 0, "{report}");
    assert_eq!(count("unanswered"), 0, "{report}");
    let by_second = report["operations_by_second"].as_array().unwrap();
    assert_eq!(by_second.iter().map(|second| second.as_u64().unwrap()).sum::<u64>(), count("operations"));
    let latency = &report["latency_us"];
    let percentiles = ["p50", "p90", "p99", "p99_9", "max"].map(|name| latency[name].as_f64().unwrap());
    assert!(percentiles.is_sorted() && percentiles[0] > 0.0, "{latency}");
}

#[test]
fn the_counts_of_each_mix_are_those_of_the_daemon() {
    let subject = Subject::of_numbers(NUMBERS_NEVER_EXHAUSTED);
    for (flags, calls) in [
        ("--mix lease --connections 8 --ttl 1", &[("lease", "leases")][..]),
        ("--mix lease --connections 2 --pipeline 4 --count 10 --ttl 1", &[("lease", "leases")]),
        ("--mix lease+return --connections 8 --pipeline 4", &[("lease", "leases"), ("return", "returns")]),
        ("--mix lease+return --connections 2 --count 50 --order sequential", &[("return", "returns")]),
        ("--mix lease+return --rate 2000 --threads 2", &[("lease", "leases"), ("return", "returns")]),
        ("--mix renew --connections 3 --pipeline 2 --count 5", &[("renew", "renewals")]),
        ("--mix renew --connections 70 --order lowest", &[("renew", "renewals")]),
        ("--mix lookup --connections 4 --pipeline 16", &[("lookup", "")]),
    ] {
        let before = subject.stats();
        let report = subject.bench(flags);
        let after = subject.stats();
        assert_is_whole(&report);
        for (call, total) in calls {
            let (mut operations, mut numbers) = of_run(&report, call);
            if *call == "lease" {
                let prepared = &report["leased_before"];
                numbers += prepared["for_mix"].as_u64().unwrap();
                assert_eq!(prepared["for_taken"], 0);
            }
            if *call == "lookup" {
                assert_eq!(operations, numbers, "{flags}");
                numbers = 0;
            }
            let daemons = grown(&before, &after, &format!("/requests/{call}/count"));
            assert_eq!(operations, daemons, "{flags}: {call}");
            let totals = grown(&before, &after, &format!("/pools/p/totals/{total}"));
            assert_eq!(numbers, totals, "{flags}: {call}");
            operations = grown(&before, &after, &format!("/requests/{call}/by_status/200"));
            assert_eq!(operations, daemons, "{flags}: all of them succeed");
        }
        if flags.contains("lease+return") {
            assert_eq!(of_run(&report, "lease").1, of_run(&report, "return").1, "{flags}: nothing stays");
        }
    }
    assert!(subject.daemon.ok(&["pool", "show", "p"]).contains("lowest"), "--order is set");
}

#[test]
fn the_rate_of_an_open_loop_is_kept() {
    let subject = Subject::start();
    let report = subject.bench("--mix lookup --rate 1500 --seconds 2 --warm-up-seconds 0 --connections 16");
    assert_eq!(report["latency_us"]["requests"], 3000, "{report}");
    // Answers that come after the end, as on a machine with much to do, are not of the run.
    let (operations, numbers) = of_run(&report, "lookup");
    assert!(operations == numbers && (1_500..=3_000).contains(&operations), "{report}");
}

#[test]
fn an_exhausted_pool_is_shown_and_is_no_error() {
    let subject = Subject::start();
    let report = subject.bench("--fill 99.5 --connections 4 --count 7");
    assert_eq!(report["leased_before"]["for_taken"], NUMBERS * 995 / 1000);
    assert_eq!(report["taken_percent"]["before"].as_f64(), Some(99.5));
    assert_eq!(report["taken_percent"]["after"].as_f64(), Some(100.0));
    let answers = report["answers"].as_array().unwrap();
    let exhausted = answers.iter().find(|answer| answer["code"] == "exhausted").unwrap();
    assert_eq!((&exhausted["status"], &exhausted["numbers"]), (&Value::from(409), &Value::from(0)));
    let exhausted = exhausted["operations_of_run"].as_u64().unwrap();
    assert_eq!(subject.stats()["pools"]["p"]["totals"]["exhausted"], exhausted);
    assert_eq!(of_run(&report, "lease").1, NUMBERS * 5 / 1000);
    let renew = subject.daemon.run(&["bench", "p", "--mix", "renew"]);
    one_line_failure(&renew, 1, "0 numbers available");
}

#[test]
fn people_can_read_it_and_a_socket_file_will_do() {
    let subject = Subject::start();
    let server = format!("unix:{}", subject.directory.path().join("s").display());
    let pid = std::process::id().to_string();
    let flags = ["--seconds", "0.3", "--warm-up-seconds", "0", "--server-pid", &pid];
    let text = subject.daemon.ok(&[&["bench", "p", "--server", &server][..], &flags].concat());
    for words in ["lease of 1 on p of unix:", "operations/s", "p99.9", "server CPU", "lease   200"] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn failures_are_one_line() {
    let subject = Subject::start();
    for (flags, code, words) in [
        ("bench p --connections 0", 2, "--connections is 0: give 1 to 16384"),
        ("bench p --rate -1", 2, "--rate"),
        ("bench p --rate 0", 2, "--rate is 0"),
        ("bench p --mix all", 2, "give lease, lease+return, renew or lookup"),
        ("bench p --seconds 0", 2, "--seconds is 0"),
        ("bench p --fill 101", 2, "give 0 to 100"),
        ("bench ../p", 2, "not a pool name"),
        ("bench p --server ftp://a", 2, "unix:PATH"),
        ("bench p --server http://127.0.0.1:1", 1, "allotd serve"),
        ("bench nope", 1, "pool_not_found"),
        ("bench p --server-pid 4294967295", 1, "--server-pid"),
        ("bench p --ttl 31622400 --mix renew", 1, "ttl_max"),
    ] {
        let output = subject.daemon.run(&flags.split(' ').collect::<Vec<_>>());
        if words == "--rate" {
            // Reported by the parser of the command line, in more than one line.
            assert_eq!(output.status.code(), Some(2));
        } else {
            one_line_failure(&output, code, words);
        }
    }
}

#[test]
fn a_daemon_that_is_killed_ends_it() {
    let subject = Subject::start();
    let mut command = allotd();
    command.args(["bench", "p", "--seconds", "60", "--server", &subject.daemon.url]);
    let started = Instant::now();
    let bench =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    while subject.stats()["requests"]["lease"]["count"].as_u64().unwrap_or(0) < 1000 {
        assert!(started.elapsed().as_secs() < crate::support::PATIENCE_SECONDS);
    }
    subject.daemon.kill();
    let output = bench.wait_with_output().unwrap();
    one_line_failure(&output, 1, "the server went away after");
    assert!(output.stdout.is_empty() && started.elapsed().as_secs() < 30);
}
