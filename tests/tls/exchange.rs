//! Certificates that are exchanged while connections are open.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::{TlsDaemon, call, in_file, shown};
use crate::no_flags;

/// Leases on a kept connection, and now and then on a new one, until told to stop. No answer may be missing.
fn load(daemon: &TlsDaemon, stop: &AtomicBool, answers: &AtomicU64) {
    let config = daemon.authority.client_config(&["http/1.1"]);
    let mut kept = daemon.connect(&config).unwrap();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..20 {
            assert_eq!(call(&mut kept, "POST", "/v1/pools/ru/lease").unwrap().status, 200);
            answers.fetch_add(1, Ordering::Relaxed);
        }
        let mut new = daemon.connect(&config).unwrap();
        assert_eq!(call(&mut new, "POST", "/v1/pools/ru/lease").unwrap().status, 200);
    }
}

#[test]
fn certificates_are_exchanged_under_load() {
    let daemon = TlsDaemon::start(no_flags);
    daemon.make_pool("1000000-1999999\n");
    let config = daemon.authority.client_config(&["http/1.1"]);
    let mut old = daemon.connect(&config).unwrap();
    let (stop, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let loads: Vec<_> = (0..4).map(|_| scope.spawn(|| load(&daemon, &stop, &answers))).collect();
        for round in 1..=5 {
            let before = answers.load(Ordering::Relaxed);
            daemon.authority.server(&format!("server-{round}")).replace(&daemon.pair);
            daemon.reload("reloaded", round);
            let new = daemon.connect(&config).unwrap();
            assert_eq!(shown(&new), in_file(&daemon.pair.certificate), "round {round}");
            let started = Instant::now();
            while answers.load(Ordering::Relaxed) < before + 40 {
                assert!(started.elapsed() < Duration::from_secs(20), "the load goes on");
                thread::sleep(Duration::from_millis(5));
            }
        }
        stop.store(true, Ordering::Relaxed);
        for load in loads {
            load.join().unwrap();
        }
    });
    assert_ne!(shown(&old), in_file(&daemon.pair.certificate));
    assert_eq!(call(&mut old, "GET", "/healthz").unwrap().status, 200, "an old connection stays");
}

#[test]
fn a_certificate_that_is_refused_changes_nothing() {
    let daemon = TlsDaemon::start(no_flags);
    let config = daemon.authority.client_config(&["http/1.1"]);
    let in_force = shown(&daemon.connect(&config).unwrap());
    let (pair, authority) = (&daemon.pair, &daemon.authority);
    let good = authority.server("good");
    let write = |text: &str| fs::write(&pair.certificate, text).unwrap();
    let chmod = |mode| fs::set_permissions(&pair.key, fs::Permissions::from_mode(mode)).unwrap();
    let key_of_another = || {
        good.replace(pair);
        fs::copy(&authority.server("another").key, &pair.key).unwrap();
    };
    let steps: [(&str, &dyn Fn()); 8] = [
        ("does not fit the certificate", &key_of_another),
        ("expired at 2021-01-01", &|| authority.server_of_years("old", (2020, 2021)).replace(pair)),
        ("valid from 3000-01-01", &|| authority.server_of_years("young", (3000, 3001)).replace(pair)),
        ("mode 604", &|| {
            good.replace(pair);
            chmod(0o604);
        }),
        ("has no certificate in PEM", &|| {
            chmod(0o600);
            write("");
        }),
        ("is not understood", &|| write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
        ("has no private key in PEM", &|| {
            good.replace(pair);
            fs::copy(&good.certificate, &pair.key).unwrap();
            chmod(0o600);
        }),
        ("cannot be read", &|| fs::remove_file(&pair.certificate).unwrap()),
    ];
    for (index, (expected, damage)) in steps.iter().enumerate() {
        damage();
        let event = daemon.reload("reload_failed", index + 1);
        let message = event["message"].as_str().unwrap();
        assert!(message.starts_with("nothing was changed: ") && message.contains(expected), "{event}");
        assert_eq!(shown(&daemon.connect(&config).unwrap()), in_force, "{expected}");
    }
    good.replace(pair);
    daemon.reload("reloaded", 1);
    assert_eq!(shown(&daemon.connect(&config).unwrap()), in_file(&good.certificate));
}

/// A session that was kept from before is not continued with other certificates: it would not be verified.
#[test]
fn a_session_does_not_outlive_its_certificate() {
    let daemon = TlsDaemon::start(no_flags);
    let config = daemon.authority.client_config(&["http/1.1"]);
    let resumes = |config: &Arc<rustls::ClientConfig>| {
        let mut connection = daemon.connect(config).unwrap();
        assert_eq!(call(&mut connection, "GET", "/healthz").unwrap().status, 200);
        connection.get_ref().conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    };
    assert_eq!((resumes(&config), resumes(&config)), (false, true));
    daemon.reload("reloaded", 1);
    assert_eq!((resumes(&config), resumes(&config)), (false, true));
}
