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

/// The SHA-256 of a certificate's public key, as OpenSSL says it.
fn key_hash(certificate: &std::path::Path) -> Option<String> {
    let script = "openssl x509 -in \"$0\" -pubkey -noout | openssl pkey -pubin -outform DER | sha256sum";
    let output = std::process::Command::new("sh").args(["-c", script]).arg(certificate).output().unwrap();
    let hash = String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap_or_default().to_owned();
    (output.stderr.is_empty() && hash.len() == 64).then_some(hash)
}

#[test]
fn a_certificate_is_the_caller_that_the_tokens_file_says() {
    let mut pairs = Vec::new();
    let daemon = TlsDaemon::start(|authority| {
        let path = authority.path("tokens.toml");
        let certificates = [("dialer", 7), ("viewer", 8), ("admin", 9), ("stranger", 10)];
        pairs = certificates.map(|(name, serial)| authority.client(name, serial)).to_vec();
        let admin = match key_hash(&pairs[2].certificate) {
            Some(hash) => format!("sha256:{hash}"),
            None => "admin".to_owned(),
        };
        let entry = |name: &str, role: &str, certificate: &str| {
            format!(
                "[[token]]\nname = \"{name}\"\nrole = \"{role}\"\npools = [\"*\"]\ncertificates = [\"{certificate}\"]\n"
            )
        };
        let text =
            entry("a", "client", "dialer") + &entry("b", "viewer", "viewer") + &entry("c", "admin", &admin);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let ca = authority.ca().to_str().unwrap().to_owned();
        ["--tls-client-ca".to_owned(), ca, "--tokens".to_owned(), path.to_str().unwrap().to_owned()].to_vec()
    });
    let (client, viewer, admin, stranger) = (&pairs[0], &pairs[1], &pairs[2], &pairs[3]);
    let numbers = daemon.logged.path("numbers.csv");
    std::fs::write(&numbers, "first,last\n100,199\n").unwrap();
    let create = ["pool", "create", "ru", numbers.to_str().unwrap()];
    let code = |pair, args: &[&str]| daemon.command_as(pair, args).status.code();
    one_line_failure(&daemon.command_as(client, &create), 1, "(forbidden)");
    assert_eq!(code(admin, &create), Some(0));
    assert_eq!((code(client, &["lease", "ru"]), code(viewer, &["stats"])), (Some(0), Some(0)));
    one_line_failure(&daemon.command_as(client, &["stats"]), 1, "(forbidden)");
    one_line_failure(&daemon.command_as(viewer, &["lease", "ru"]), 1, "(forbidden)");
    one_line_failure(&daemon.command_as(stranger, &["lease", "ru"]), 1, "(unauthorized)");
    one_line_failure(&daemon.command(&["lease", "ru"]).output().unwrap(), 1, "(unauthorized)");
}

/// A listener that was allowed because it requires certificates goes on to require them.
#[test]
fn a_reload_does_not_let_in_who_was_kept_out() {
    let mut config = std::path::PathBuf::new();
    let text = |authority: &Authority, more: &str| format!("tls_client_ca = {:?}\n{more}\n", authority.ca());
    let daemon = TlsDaemon::start(|authority| {
        config = authority.path("allotd.toml");
        std::fs::write(&config, text(authority, "tls_client_required = true")).unwrap();
        vec!["--config".to_owned(), config.to_str().unwrap().to_owned()]
    });
    let client = daemon.authority.client("dialer", 7);
    for more in ["tls_client_required = false", ""] {
        std::fs::write(&config, text(&daemon.authority, more)).unwrap();
        daemon.reload("reloaded", daemon.logged.named("reloaded").len() + 1);
        let last = daemon.logged.named("restart_needed").pop().unwrap();
        assert_eq!(last["setting"], "tls_client_required");
        let output = daemon.command(&["pool", "list"]).output().unwrap();
        one_line_failure(&output, 1, "--client-certificate and --client-key");
        assert_eq!(daemon.command_as(&client, &["pool", "list"]).status.code(), Some(0));
    }
}
