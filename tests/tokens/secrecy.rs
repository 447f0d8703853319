//! What the daemon tells: of changes and refusals who made them, and of no token anything.

use std::fs;

use super::Guarded;

#[test]
fn changes_and_refusals_are_logged_with_who_made_them() {
    let (guarded, tokens) = Guarded::start(&[], &[("shop", &["--role", "client", "--pools", "ru*"])]);
    let mut shop = guarded.caller(&tokens[0]);
    assert_eq!(shop.call("POST", "/v1/pools/ru/pause").status, 403);
    assert_eq!(shop.call("POST", "/v1/pools/de/lease").status, 404);
    assert_eq!(shop.call("POST", "/v1/pools/ru-none/lease").status, 404);
    // The same in the body of a call, whose answer does not tell them apart.
    let unseen = shop.post("/v1/lease", r#"{"pools":["ru","de"]}"#);
    let missing = shop.post("/v1/lease", r#"{"pools":["ru","ru-none"]}"#);
    assert_eq!((unseen.status, missing.status), (404, 404));
    assert_eq!(unseen.body.replace(r#"\"de\""#, r#"\"ru-none\""#), missing.body);
    assert_eq!(unseen.headers.len(), missing.headers.len());
    assert_eq!(guarded.root().call("POST", "/v1/pools/ru/pause").status, 200);
    let paused = guarded.logged.wait_for("pool_paused", 1).remove(0);
    let refused = guarded.logged.wait_for("access_refused", 3);
    assert_eq!(refused.len(), 3, "a pool that is not there is no refusal: {refused:?}");
    assert_eq!((&refused[2]["pool"], &refused[2]["call"]), (&"de".into(), &"lease_several".into()));
    let listener = format!("{}", guarded.logged.daemon.address);
    for (event, principal, status) in [
        (&paused, "root", 200),
        (&refused[0], "shop", 403),
        (&refused[1], "shop", 404),
        (&refused[2], "shop", 404),
    ] {
        assert_eq!(event["principal"], principal, "{event}");
        assert_eq!(event["status"], status, "{event}");
        assert!(event["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{event}");
        assert_eq!(event["listener"].as_str().unwrap(), listener, "{event}");
    }
    // A flood of refusals is a few lines and a count.
    for _ in 0..200 {
        assert_eq!(shop.call("POST", "/v1/pools/ru/pause").status, 403);
    }
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    assert_eq!(shop.call("POST", "/v1/pools/ru/pause").status, 403);
    let refused = guarded.logged.named("access_refused");
    let suppressed: u64 = refused.iter().map(|event| event["suppressed"].as_u64().unwrap()).sum();
    let counted = guarded
        .logged
        .named("suppressed")
        .iter()
        .map(|event| event["suppressed"].as_u64().unwrap())
        .sum::<u64>();
    assert_eq!(refused.len() as u64 + suppressed + counted, 204, "{} lines", refused.len());
    assert!(refused.len() < 60, "{} lines", refused.len());
}

#[test]
fn no_token_is_in_any_output() {
    let flags = ["--log-level", "debug", "--log-numbers", "--slow-call-ms", "1"];
    let (guarded, tokens) = Guarded::start(&flags, &[("shop", &["--role", "client", "--pools", "ru*"])]);
    let token = &tokens[0];
    let mut told = Vec::new();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for header in [
        bearer.clone(),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: Bearer {token}x\r\n"),
        format!("{bearer}{bearer}"),
        format!("{bearer}X-Request-Id: {token}\r\n"),
        format!("{bearer}Idempotency-Key: {token}\r\n"),
        format!("{bearer}Origin: http://{token}\r\n"),
        String::new(),
    ] {
        for (method, path, body) in [
            ("POST", "/v1/pools/ru/lease".to_owned(), "{}".to_owned()),
            ("GET", format!("/v1/pools/ru?access_token={token}"), String::new()),
            ("GET", format!("/v1/pools/{token}"), String::new()),
            ("GET", format!("/{token}"), String::new()),
            ("POST", "/v1/pools/ru/lease".to_owned(), format!("{{\"{token}\":1}}")),
            ("POST", "/v1/pools/ru/lease".to_owned(), format!("{{\"within\":[\"{token}\"]}}")),
            ("PATCH", "/v1/pools/ru".to_owned(), format!("{{\"order\":\"{token}\"}}")),
        ] {
            let mut caller = guarded.with_header(&header);
            told.push(format!("{:?}", caller.send(method, &path, "application/json", &body)));
            let mut root = guarded.root();
            told.push(format!("{:?}", root.send(method, &path, "application/json", &body)));
        }
    }
    // A broken file with the token itself in it.
    let good = guarded.tokens_file();
    for bad in [
        format!("{good}\n{token}"),
        format!("{good}\n{token} = 1"),
        format!("{good}\n[[token]]\nname = \"{token}\"\n"),
        format!(
            "{good}\n[[token]]\nname = \"x\"\nrole = \"{token}\"\npools = [\"*\"]\nsha256 = [\"{token}\"]\n"
        ),
    ] {
        let failed = guarded.logged.named("reload_failed").len();
        super::write_tokens(&guarded.logged.path(super::TOKENS), &bad);
        guarded.logged.daemon.signal(rustix::process::Signal::HUP);
        guarded.logged.wait_for("reload_failed", failed + 1);
        let checked = guarded.logged.daemon.run(&[
            "token",
            "check",
            guarded.logged.path(super::TOKENS).to_str().unwrap(),
        ]);
        told.push(format!("{checked:?}"));
    }
    for path in ["/v1/stats", "/metrics", "/v1/pools", "/openapi.json"] {
        told.push(guarded.root().call("GET", path).body);
    }
    let secret = token;
    told.push(guarded.logged.text());
    let told_text = told.join("\n");
    assert!(told_text.contains("access_refused") && told_text.contains("\"event\":\"request\""));
    for part in [&secret[4..20], &secret[20..40]] {
        assert!(!told_text.contains(part), "{}", context(&told_text, part));
    }
    // Not in the data directory either.
    let stored = files(&guarded.logged.path("data"));
    assert!(stored.iter().all(|bytes| !bytes.windows(16).any(|window| window == &secret.as_bytes()[4..20])));
}

/// What stands around the first place of a text.
fn context(text: &str, part: &str) -> String {
    let at = text.find(part).unwrap_or(0);
    text[at.saturating_sub(300)..(at + 100).min(text.len())].to_owned()
}

/// The contents of all files below a directory.
fn files(directory: &std::path::Path) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.extend(fs::read(&path));
        }
    }
    all
}
