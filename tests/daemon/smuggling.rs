//! Requests that servers on the way can read in different ways are refused before anything is executed: the
//! cases of `fixtures/smuggling.txt`, on the real daemon.

use std::io::Write;

use crate::support::daemon::Daemon;
use crate::support::try_read_answer;

struct Case {
    name: String,
    bytes: Vec<u8>,
    statuses: Vec<u16>,
    is_open: bool,
    leases: u64,
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut letters = text.bytes();
    while let Some(letter) = letters.next() {
        let byte = match letter {
            b'\\' => match letters.next().unwrap() {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'0' => 0,
                b'\\' => b'\\',
                b'x' => {
                    let digits = [letters.next().unwrap(), letters.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => panic!("\\{} in {text}", other as char),
            },
            other => other,
        };
        bytes.push(byte);
    }
    bytes
}

fn cases() -> Vec<Case> {
    let text = include_str!("../fixtures/smuggling.txt");
    let blocks = text.split("\n\n").filter(|block| !block.starts_with('#'));
    blocks
        .map(|block| {
            let lines: Vec<&str> = block.lines().collect();
            let [name, bytes @ .., expected] = &*lines else { panic!("{block}") };
            let mut words: Vec<&str> = expected.strip_prefix("= ").unwrap().split(' ').collect();
            let leases = words.pop().unwrap().parse().unwrap();
            let is_open = match words.pop().unwrap() {
                "open" => true,
                "close" => false,
                other => panic!("{other}"),
            };
            let statuses = words.iter().map(|word| word.parse().unwrap()).collect();
            Case { name: (*name).to_owned(), bytes: unescaped(&bytes.concat()), statuses, is_open, leases }
        })
        .collect()
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_before_it_is_executed() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_with(&directory.path().join("data"), &["--workers", "1"]);
    let created = daemon.client().send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n100,199999\n");
    assert_eq!(created.unwrap().status, 201);
    let mut leased = 0;
    let mut wrong = Vec::new();
    let all = cases();
    assert!(all.len() > 30, "{}", all.len());
    for case in all {
        // At once, and cut everywhere: what a case is read as must not depend on the packets.
        for cut in [0, 1, case.bytes.len() / 3, case.bytes.len() / 2, case.bytes.len() - 1] {
            let mut client = daemon.client();
            let (first, second) = case.bytes.split_at(cut);
            client.connection.get_mut().write_all(first).unwrap();
            if cut > 0 {
                std::thread::sleep(std::time::Duration::from_millis(3));
            }
            let _ = client.connection.get_mut().write_all(second);
            let mut statuses = Vec::new();
            while statuses.len() < case.statuses.len() {
                match try_read_answer(&mut client.connection, false) {
                    Ok(answer) => statuses.push(answer.status),
                    Err(_) => break,
                }
            }
            let is_open = client.call("GET", "/healthz").is_ok_and(|answer| answer.status == 200);
            let now = daemon.client().call("GET", "/v1/pools/ru").unwrap().json()["leased"].as_u64().unwrap();
            let found = (statuses, is_open, now - leased);
            leased = now;
            // A request in two parts whose first ends within the request before it has another begin.
            let expected = (case.statuses.clone(), case.is_open, case.leases);
            if found != expected {
                wrong.push(format!("{} cut at {cut}: {found:?} instead of {expected:?}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
