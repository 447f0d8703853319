//! Versions, ciphers and groups, as OpenSSL's client tries them.

use std::process::{Command, Output, Stdio};

use crate::daemon::TlsDaemon;
use crate::no_flags;

/// Whether a handshake with these flags of `openssl s_client` succeeds, and what it said.
fn handshake(daemon: &TlsDaemon, flags: &str) -> (bool, String) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-brief", "-connect", &daemon.logged.daemon.address.to_string()]);
    command.arg("-CAfile").arg(daemon.authority.ca()).args([
        "-verify_return_error",
        "-servername",
        "localhost",
    ]);
    let output: Output =
        command.args(flags.split(' ')).stdin(Stdio::null()).output().expect("openssl is there");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("s_client: "), "a flag is not understood: {said}");
    (output.status.success() && said.contains("CONNECTION ESTABLISHED"), said)
}

fn check(daemon: &TlsDaemon, cases: &[(&str, bool)]) {
    for &(flags, is_served) in cases {
        let (is_done, said) = handshake(daemon, flags);
        assert_eq!(is_done, is_served, "{flags}: {said}");
        // What the client itself does not offer would be refused by it, not by the daemon.
        assert!(is_served || said.contains("alert"), "{flags}: {said}");
        if let Some((_, cipher)) = flags.rsplit_once("cipher ").filter(|_| is_served) {
            assert!(said.contains(&format!("Ciphersuite: {}", cipher.split(' ').next().unwrap())), "{said}");
        }
    }
}

#[test]
fn only_tls_1_3_is_spoken_unless_asked_for() {
    let cases = [
        ("-tls1_3", true),
        ("-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256", true),
        ("-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384", true),
        ("-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256", true),
        ("-tls1_3 -ciphersuites TLS_AES_128_CCM_SHA256", false),
        ("-tls1_3 -groups X25519", true),
        ("-tls1_3 -groups P-256", true),
        ("-tls1_3 -groups ffdhe2048", false),
        ("-tls1_2", false),
        ("-tls1_1 -cipher DEFAULT@SECLEVEL=0", false),
        ("-tls1 -cipher DEFAULT@SECLEVEL=0", false),
    ];
    check(&TlsDaemon::start(no_flags), &cases);
}

#[test]
fn tls_1_2_has_forward_secrecy_and_authenticated_ciphers_only() {
    let daemon = TlsDaemon::start(|_| vec!["--tls-1-2".to_owned()]);
    let cases = [
        ("-tls1_3", true),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", true),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", true),
        ("-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", true),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256", false),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES256-SHA", false),
        ("-tls1_2 -cipher AES128-GCM-SHA256", false),
        ("-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256", false),
        ("-tls1_2 -cipher NULL:aNULL@SECLEVEL=0", false),
        ("-tls1_1 -cipher DEFAULT@SECLEVEL=0", false),
    ];
    check(&daemon, &cases);
}
