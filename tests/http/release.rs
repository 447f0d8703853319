//! Releasing numbers: their leases and rests are over now, their tokens are stale, and nothing else changes.

use crate::support::Server;
use crate::support::daemon::allotd;
use serde_json::{Value, json};

fn lease(server: &Server, count: u32) -> Vec<Value> {
    let answer = server.post("/v1/pools/ru/lease", &format!("{{\"count\":{count}}}"));
    let leases = answer.json()["leases"].as_array().unwrap().clone();
    leases.iter().map(|lease| json!({"number": lease["number"], "token": lease["token"]})).collect()
}

fn results(server: &Server, call: &str, leases: &[Value]) -> Vec<String> {
    let answer = server.post(&format!("/v1/pools/ru/{call}"), &json!({"leases": leases}).to_string());
    let results = answer.json()["results"].as_array().unwrap().clone();
    results.iter().map(|result| result["result"].as_str().unwrap().to_owned()).collect()
}

fn counts(server: &Server) -> [u64; 5] {
    let pool = server.call("GET", "/v1/pools/ru").json();
    ["available", "leased", "resting", "done", "retired"].map(|state| pool[state].as_u64().unwrap())
}

#[test]
fn a_list_is_released_and_its_tokens_are_stale() {
    let server = Server::with_pool("order=lowest", "100-109");
    let leases = lease(&server, 5);
    let ends = json!([{"number": 101, "token": leases[1]["token"], "then": {"rest": 600}},
                      {"number": 102, "token": leases[2]["token"], "then": "done"},
                      {"number": 103, "token": leases[3]["token"], "then": "retired"}]);
    server.post("/v1/pools/ru/return", &json!({"leases": ends}).to_string());
    assert_eq!(counts(&server), [5, 2, 1, 1, 1]);
    let list = "first,last\n100,105\n999,999\n";
    let expected =
        json!({"released": 3, "already": 3, "unknown": 1, "leased": 2, "duplicates": 0, "invalid": 0});
    let dry = server.send("POST", "/v1/pools/ru/release?dry_run=true", "text/csv", list);
    assert_eq!((dry.json(), counts(&server)), (expected.clone(), [5, 2, 1, 1, 1]));
    let released = server.send("POST", "/v1/pools/ru/release", "text/csv", list);
    assert_eq!((released.json(), counts(&server)), (expected, [8, 0, 0, 1, 1]));
    for call in ["renew", "return"] {
        let all = results(&server, call, &[leases[0].clone(), leases[1].clone(), leases[4].clone()]);
        assert_eq!(all, ["stale"; 3], "{call}");
    }
    assert_eq!(results(&server, "return", &leases[2..3]), ["returned"], "done is what it was");
    let seen = server.call("GET", "/v1/pools/ru/numbers/100").body;
    assert_eq!(
        seen,
        "{\"number\":100,\"state\":\"available\",\"generation\":2,\"leasable\":true,\"reasons\":[]}"
    );
    let again = server.send("POST", "/v1/pools/ru/release", "text/csv", list).json();
    assert_eq!(
        again,
        json!({"released": 0, "already": 6, "unknown": 1, "leased": 0, "duplicates": 0, "invalid": 0})
    );
    let next = server.call("POST", "/v1/pools/ru/lease").json()["leases"][0].clone();
    assert_eq!((&next["number"], &next["generation"]), (&json!(100), &json!(3)));
    assert_eq!(results(&server, "return", &leases[..1]), ["stale"], "the next lease has another token");
}

#[test]
fn states_are_released_within_a_part_of_the_pool() {
    let server = Server::with_pool("order=lowest&rest=600", "100-109\n200-209\n");
    let leases = lease(&server, 14);
    results(&server, "return", &leases[8..12]);
    assert_eq!(counts(&server), [6, 10, 4, 0, 0]);
    let release = |query: &str| server.call("POST", &format!("/v1/pools/ru/release?{query}")).json();
    let all = json!({"released": 14, "already": 0, "unknown": 0, "leased": 10});
    assert_eq!(release("state=leased,resting&dry_run=true"), all);
    let few = json!({"released": 2, "already": 0, "unknown": 0, "leased": 2});
    assert_eq!(release("state=leased&within=100-101"), few);
    let resting = json!({"released": 4, "already": 0, "unknown": 0, "leased": 0});
    assert_eq!(release("state=resting"), resting);
    assert_eq!(counts(&server), [12, 8, 0, 0, 0]);
    assert_eq!(release("state=resting,leased")["released"], 8);
    assert_eq!(results(&server, "renew", &leases), ["stale"; 14]);
    assert_eq!(counts(&server), [20, 0, 0, 0, 0]);
}

#[test]
fn a_lease_that_has_ended_cannot_be_renewed_once_its_number_was_released() {
    let server = Server::with_pool("order=lowest&ttl=1", "100-101");
    let leases = lease(&server, 2);
    while counts(&server)[0] < 2 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let released = server.send("POST", "/v1/pools/ru/release", "text/plain", "100").json();
    assert_eq!(
        released,
        json!({"released": 0, "already": 1, "unknown": 0, "leased": 0, "duplicates": 0, "invalid": 0})
    );
    assert_eq!(results(&server, "renew", &leases), ["stale", "renewed"]);
}

#[test]
fn many_numbers_are_released_while_another_caller_leases() {
    let server = Server::with_pool("order=lowest", "100000-119999");
    let leases = lease(&server, 20_000);
    let calls = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut calls = 0;
            while server.call("POST", "/v1/pools/ru/lease").status == 409 {
                calls += 1;
            }
            calls
        });
        let released = server.call("POST", "/v1/pools/ru/release?state=leased").json();
        // What the other thread got of the first ones may be met again.
        assert!(released["released"].as_u64().unwrap() >= 20_000, "{released}");
        other.join().unwrap()
    });
    assert!(calls < 1_000_000);
    assert_eq!(results(&server, "renew", &leases[..100]), ["stale"; 100]);
    let [free, held, ..] = counts(&server);
    assert!(held <= 1 && free + held == 20_000, "{free} {held}");
}

#[test]
fn what_cannot_be_released_is_refused_with_what_to_give() {
    let server = Server::with_pool("order=lowest", "100-109");
    lease(&server, 3);
    for (query, words) in [
        ("", "give a list of numbers as the body, or state=leased"),
        ("?state=available", "give leased, resting"),
        ("?state=leased,done", "state is \"done\""),
        ("?state=", "give leased, resting"),
        ("?within=10", "within goes with state"),
        ("?holder=c-17", "tracks no holders"),
        ("?holder=c-17&state=leased", "holder goes alone"),
        ("?state=leased&within=x", "within"),
        ("?state=leased&length=11", "length is for a list"),
        ("?state=leased&dry_run=1", "give true or false"),
        ("?states=leased", "is not a parameter"),
    ] {
        let answer = server.call("POST", &format!("/v1/pools/ru/release{query}"));
        assert_eq!(answer.problem(), (400, "bad_request".to_owned()), "{query}: {}", answer.body);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(words), "{query}: {detail}");
    }
    let both = server.send("POST", "/v1/pools/ru/release?state=leased", "text/plain", "100");
    assert!(both.status == 400 && both.body.contains("without a list"), "{}", both.body);
    let bad = server.send("POST", "/v1/pools/ru/release", "text/plain", "100\nx\n");
    assert!(bad.status == 400 && bad.body.contains("line 2"), "{}", bad.body);
    assert_eq!(counts(&server)[1], 3);
}

#[test]
fn the_command_releases_files_or_states() {
    let server = Server::with_pool("order=lowest", "100-109");
    lease(&server, 6);
    let list = server.data.path().join("list.csv");
    std::fs::write(&list, "first,last\n100,101\n109,109\n").unwrap();
    let url = format!("http://{}", server.address);
    let run = |args: &[&str]| {
        let mut command = allotd();
        let output = command.args(["pool", "release", "ru", "--server", &url]).args(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let shown = |released: u32, already: u32, leased: u32| {
        (Some(0), format!("already   {already}\nleased    {leased}\nreleased  {released}\nunknown   0\n"))
    };
    let file = list.to_str().unwrap();
    let of_a_list =
        "already     1\nduplicates  0\ninvalid     0\nleased      2\nreleased    2\nunknown     0\n"
            .to_owned();
    assert_eq!(run(&[file, "--dry-run"]), (Some(0), of_a_list.clone()));
    assert_eq!(run(&[file]), (Some(0), of_a_list));
    assert_eq!(run(&["--state", "leased", "--within", "102-103"]), shown(2, 0, 2));
    assert_eq!(run(&["--state", "leased,resting", "--dry-run"]), shown(2, 0, 2));
    assert_eq!(counts(&server)[1], 2);
    for wrong in [&[][..], &[file, "--state", "leased"], &[file, "--within", "10"], &["--dry-run"]] {
        let (code, text) = run(wrong);
        assert_eq!(code, Some(2), "{wrong:?}: {text}");
    }
    let (code, text) = run(&["--state", "done"]);
    assert!(code == Some(1) && text.contains("give leased, resting"), "{text}");
}
