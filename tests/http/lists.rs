//! Lists of numbers that are refused over HTTP: with which words, and that nothing is left of them.

use crate::support::Server;
use roaring::{RoaringBitmap, RoaringTreemap};

/// That a server has no pool but `ru` with these numbers, and nothing in the making.
fn nothing_is_left(server: &Server, numbers: u64) {
    let pools = server.call("GET", "/v1/pools").json();
    let pools: Vec<_> = pools["pools"].as_array().unwrap().iter().map(|pool| &pool["numbers"]).collect();
    assert_eq!(pools, [numbers]);
    let data = server.data.path().join("data");
    assert_eq!(std::fs::read_dir(data.join("staging")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(data.join("pools")).unwrap().count(), 1);
    assert_eq!(
        std::fs::read_dir(data.join("pools/ru")).unwrap().count(),
        4,
        "manifest, set, words and their sums"
    );
}

#[test]
fn a_bad_line_is_named_and_nothing_is_loaded() {
    let server = Server::with_pool("", "100-102");
    for (kind, list, words) in [
        ("text/plain", "1\n1234567890123456\n", &["line 2", "15 digits"][..]),
        ("text/plain", "1\n\n# a comment\n99999999999999999999999999\n", &["line 4", "15 digits"]),
        ("text/plain", "079120000000\n", &["line 1", "zero"]),
        ("text/plain", "00\n", &["line 1", "zero", "leading_zeros=drop"]),
        ("text/plain", "5\n79120000010-79120000000\n", &["line 2", "ends before"]),
        ("text/plain", "5\n20-10\n", &["line 2", "20-10", "at least 5"]),
        ("text/plain", "5\n1234567890123455-1234567890123456\n", &["line 2", "15 digits"]),
        ("text/plain", "abc\n", &["line 1", "abc"]),
        ("text/plain", "1-2-3\n", &["line 1"]),
        ("text/plain", "7900*\n", &["line 1", "length"]),
        ("text/plain", "", &["at least one"]),
        ("text/plain", "\n# nothing\n\n", &["at least one"]),
        ("text/csv", "number\n", &["at least one"]),
        ("text/csv", "first,last\n5,6\n20,10\n", &["line 3"]),
        ("text/csv", "number\n1234567890123456\n", &["line 2", "15 digits"]),
        ("text/csv", "phone\n5\n", &["no column number", "column="]),
    ] {
        for (method, path) in
            [("PUT", "/v1/pools/a"), ("POST", "/v1/pools/ru/numbers"), ("POST", "/v1/pools/ru/retire")]
        {
            let answer = server.send(method, path, kind, list);
            assert_eq!(answer.problem(), (400, "bad_request".into()), "{list:?}");
            for word in words {
                assert!(answer.body.contains(word), "{list:?}, {word}: {}", answer.body);
            }
        }
    }
    nothing_is_left(&server, 3);
    assert_eq!(server.call("GET", "/v1/pools/ru").json()["retired"], 0);
}

#[test]
fn overlapping_ranges_are_one_and_counted() {
    let server = Server::with_pool("", "10-20\n15-25\n12\n12\n");
    let pool = server.call("GET", "/v1/pools/ru").json();
    assert_eq!(pool["numbers"], 16);
    let created = server.send("PUT", "/v1/pools/b", "text/csv", "first,last\n10,20\n15,25\n").json();
    assert_eq!((&created["numbers"], &created["duplicates"]), (&16.into(), &6.into()));
}

#[test]
fn numbers_in_calls_are_as_strict() {
    let server = Server::with_pool("", "100-102");
    for within in ["1234567890123456", "20-10", "00", "0100-0102", "1-", "-1", "7*"] {
        let answer = server.post("/v1/pools/ru/lease", &format!("{{\"within\":[\"{within}\"]}}"));
        assert_eq!(answer.problem(), (400, "bad_request".into()), "{within}");
        assert!(answer.body.contains("within"), "{}", answer.body);
    }
    for number in ["0100", "1234567890123456", "99999999999999999999999", "-1", "+100", "1e2"] {
        let answer = server.call("GET", &format!("/v1/pools/ru/numbers/{number}"));
        assert_eq!(answer.problem(), (400, "bad_request".into()), "{number}");
    }
    for call in ["renew", "return"] {
        for number in ["1234567890123456", "0100", "1e2", "18446744073709551616", "0"] {
            let body = format!("{{\"leases\":[{{\"number\":{number},\"token\":\"AAAAAAAAAAA\"}}]}}");
            let answer = server.post(&format!("/v1/pools/ru/{call}"), &body);
            assert!([400, 409].contains(&answer.problem().0), "{number}: {}", answer.body);
        }
    }
    assert_eq!(server.call("GET", "/v1/pools/ru").json()["available"], 3);
}

/// Portable bitmaps of 64 and of 32 bits, of arrays and of runs. (`tests/numbers.rs` has larger ones.)
fn bitmaps() -> Vec<Vec<u8>> {
    let sparse = [5, 9, 70_000, 79_120_000_000, 79_120_000_002];
    let mut files = vec![Vec::new()];
    sparse.into_iter().collect::<RoaringTreemap>().serialize_into(&mut files[0]).unwrap();
    let mut optimized: RoaringBitmap = (10..300).chain(70_000..70_010).collect();
    optimized.optimize();
    files.push(Vec::new());
    optimized.serialize_into(files.last_mut().unwrap()).unwrap();
    files
}

#[test]
fn a_roaring_file_with_damage_in_any_byte_is_refused_or_read_whole() {
    const KIND: &str = "application/octet-stream";
    let server = Server::with_pool("", "100-102");
    let mut client = server.client();
    let mut refused = 0;
    for file in bitmaps() {
        let created = client.send("PUT", "/v1/pools/a", KIND, &file).unwrap();
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(client.call("DELETE", "/v1/pools/a").unwrap().status, 200);
        for length in 0..file.len() {
            let answer = client.send("PUT", "/v1/pools/a", KIND, &file[..length]).unwrap();
            assert_eq!(answer.problem(), (400, "bad_request".into()), "cut at {length}");
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << (at % 8);
            let answer = client.send("PUT", "/v1/pools/a", KIND, &damaged).unwrap();
            if answer.status == 201 {
                // Another sound bitmap: it must be read as the reference reads it.
                let numbers = RoaringTreemap::deserialize_from(damaged.as_slice()).map(|set| set.len());
                let numbers = numbers
                    .or_else(|_| RoaringBitmap::deserialize_from(damaged.as_slice()).map(|set| set.len()));
                assert_eq!(answer.json()["numbers"], numbers.unwrap(), "byte {at}");
                assert_eq!(client.call("DELETE", "/v1/pools/a").unwrap().status, 200);
            } else {
                assert_eq!(answer.problem(), (400, "bad_request".into()), "byte {at}");
                refused += 1;
            }
        }
    }
    assert!(refused > 50, "{refused}");
    nothing_is_left(&server, 3);
}
