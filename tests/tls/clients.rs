//! Clients with certificates.

use crate::certificates::Authority;
use crate::daemon::TlsDaemon;
use crate::support::daemon::one_line_failure;

fn required(authority: &Authority) -> Vec<String> {
    let ca = authority.ca().to_str().unwrap().to_owned();
    vec!["--tls-client-ca".to_owned(), ca, "--tls-client-required".to_owned()]
}

#[test]
fn a_required_certificate_lets_its_holder_in_alone() {
    let daemon = TlsDaemon::start(required);
    let others = Authority::new();
    let (client, stranger) = (daemon.authority.client("dialer", 7), others.client("dialer", 7));
    let list = ["pool", "list"];
    assert_eq!(daemon.command_as(&client, &list).status.code(), Some(0));
    one_line_failure(&daemon.command(&list).output().unwrap(), 1, "--client-certificate and --client-key");
    one_line_failure(&daemon.command_as(&stranger, &list), 1, "does not accept this client");
    let mut half = daemon.command(&list);
    half.env("ALLOTD_CLIENT_KEY", &client.key);
    one_line_failure(&half.output().unwrap(), 1, "give both or neither");
    assert!(daemon.logged.named("handshake_failed").len() >= 2);
}

#[test]
fn a_certificate_that_is_revoked_ends_at_the_next_reload() {
    let daemon = TlsDaemon::start(|authority| {
        let crl = authority.revoke(1_000).to_str().unwrap().to_owned();
        [required(authority), vec!["--tls-client-crl".to_owned(), crl]].concat()
    });
    let (one, other) = (daemon.authority.client("one", 7), daemon.authority.client("other", 8));
    let list = ["pool", "list"];
    assert_eq!(daemon.command_as(&one, &list).status.code(), Some(0));
    daemon.authority.revoke(7);
    daemon.reload("reloaded", 1);
    one_line_failure(&daemon.command_as(&one, &list), 1, "does not accept this client");
    assert_eq!(daemon.command_as(&other, &list).status.code(), Some(0));
    // A list that is not understood changes nothing.
    std::fs::write(daemon.authority.path("revoked.crl"), "text").unwrap();
    let event = daemon.reload("reload_failed", 1);
    assert!(event["message"].as_str().unwrap().contains("--tls-client-crl"), "{event}");
    one_line_failure(&daemon.command_as(&one, &list), 1, "does not accept this client");
}
