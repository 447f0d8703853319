//! SIGHUP: the tokens file is exchanged as a whole or not at all, also under load.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::Answer;
use super::support::PATIENCE_SECONDS;
use super::{Guarded, TOKENS, issue, without};

const CLIENT: &[&str] = &["--role", "client", "--pools", "ru*"];

#[test]
fn a_token_that_is_removed_under_load_ends_at_the_next_request_of_every_connection() {
    let (guarded, tokens) = Guarded::start(&[], &[("gone", CLIENT), ("stays", CLIENT)]);
    let (is_exchanged, served, ended) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let lease_and_return = |caller: &mut super::Caller| -> Answer {
        let leased = caller.lease();
        if leased.status == 200 {
            let returned = caller.give_back(&leased, "available");
            return if returned.status == 401 { returned } else { leased };
        }
        leased
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut caller = guarded.caller(&tokens[0]);
                loop {
                    // Read before the request: what is sent after the exchange must be refused.
                    let must_end = is_exchanged.load(Ordering::SeqCst);
                    match lease_and_return(&mut caller).status {
                        200 => {
                            assert!(!must_end, "served after the exchange");
                            served.fetch_add(1, Ordering::Relaxed);
                        }
                        401 => break,
                        other => panic!("status {other}"),
                    }
                }
                ended.fetch_add(1, Ordering::Relaxed);
                // On another connection too.
                let mut caller = guarded.caller(&tokens[0]);
                for _ in 0..10 {
                    assert_eq!(caller.lease().status, 401);
                }
            });
        }
        let other = scope.spawn(|| {
            let mut caller = guarded.caller(&tokens[1]);
            while ended.load(Ordering::Relaxed) < 4 {
                assert_eq!(lease_and_return(&mut caller).status, 200);
            }
        });
        let started = Instant::now();
        while served.load(Ordering::Relaxed) <= 100 {
            assert!(started.elapsed().as_secs() < PATIENCE_SECONDS, "the load goes on");
            thread::sleep(Duration::from_millis(10));
        }
        guarded.exchange(&without(&guarded.tokens_file(), "gone"));
        is_exchanged.store(true, Ordering::SeqCst);
        other.join().unwrap();
    });
    assert!(served.load(Ordering::Relaxed) > 100, "{served:?}");
    // What was counted before is kept.
    assert!(guarded.stats()["principals"]["gone"]["leases"].as_u64().unwrap() > 100);
}

#[test]
fn a_bad_file_changes_nothing_and_a_good_one_everything() {
    let (guarded, tokens) = Guarded::start(&[], &[("shop", CLIENT)]);
    let mut shop = guarded.caller(&tokens[0]);
    let good = guarded.tokens_file();
    let path = guarded.logged.path(TOKENS);
    let without_shop = without(&good, "shop");
    for (count, (text, mode, words)) in [
        (format!("{without_shop}\n[[token]]\nname = \"x\"\n"), 0o600, "missing field"),
        (without_shop.replace("admin", "lord"), 0o600, "there is no role"),
        (without_shop.clone(), 0o644, "chmod 600"),
        (without_shop.clone(), 0o620, "chmod 600"),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        guarded.logged.daemon.signal(Signal::HUP);
        let failed = guarded.logged.wait_for("reload_failed", count + 1);
        assert!(failed[count]["message"].as_str().unwrap().contains(words), "{failed:?}");
        assert_eq!(shop.lease().status, 200);
    }
    fs::remove_file(&path).unwrap();
    guarded.logged.daemon.signal(Signal::HUP);
    guarded.logged.wait_for("reload_failed", 5);
    assert_eq!(shop.lease().status, 200);

    // The next token of the same name, and another role: both at once.
    let next = issue(guarded.logged.directory.path(), "next", CLIENT);
    let next_text = fs::read_to_string(&path).unwrap();
    let hash = next_text.split("sha256 = [").nth(1).unwrap().split(']').next().unwrap();
    let rotated = good.replacen("role = \"client\"", "role = \"viewer\"", 1);
    let shop_at = rotated.find("name = \"shop\"").unwrap();
    let (before, entry) = rotated.split_at(shop_at);
    let rotated =
        format!("{before}{}", entry.replacen("\"]\nsha256 = [", &format!("\"]\nsha256 = [{hash}, "), 1));
    guarded.exchange(&rotated);
    let mut next = guarded.caller(&next);
    for caller in [&mut shop, &mut next] {
        assert_eq!(caller.lease().status, 403);
        assert_eq!(caller.call("GET", "/v1/stats").status, 200);
    }
    assert!(guarded.stats()["principals"].get("next").is_none());
    guarded.exchange(&without(&rotated, "shop"));
    assert_eq!((shop.lease().status, next.lease().status), (401, 401));
}

#[test]
fn a_token_that_expires_ends_on_its_connection() {
    let flags = [CLIENT, &["--expires", "3s"]].concat();
    let (guarded, tokens) = Guarded::start(&[], &[("brief", &flags)]);
    let mut brief = guarded.caller(&tokens[0]);
    assert_eq!(brief.lease().status, 200);
    let mut statuses = Vec::new();
    for _ in 0..60 {
        thread::sleep(Duration::from_millis(100));
        statuses.push(brief.lease().status);
    }
    assert!(statuses[0] == 200 && statuses.iter().all(|status| matches!(status, 200 | 401)), "{statuses:?}");
    assert!(statuses.ends_with(&[401; 10]), "{statuses:?}");
}
