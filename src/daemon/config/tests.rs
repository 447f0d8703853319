use clap::Args as _;

use super::limits::{DEFAULT_CLUSTER_TTL_SECONDS, DEFAULT_LOG_KEEP_MIB};
use super::listen::ListenArg;
use super::*;

fn args(file: &str) -> (tempfile::TempDir, ServeArgs) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("allotd.toml");
    std::fs::write(&path, file).unwrap();
    (directory, ServeArgs { config: Some(path), ..ServeArgs::default() })
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let (_directory, from_file) =
        args("data = \"/a\"\nworkers = 3\nallow_host = [\"a\"]\nlisten = [\"127.0.0.1:1\", \"unix:/s\"]\n");
    let config = from_file.clone().into_config().unwrap();
    assert_eq!((config.data_dir, config.workers, config.listen.len()), ("/a".into(), 3, 2));
    assert_eq!(config.allow_hosts, ["a".parse().unwrap()]);
    let flags = ServeArgs {
        data: Some("/b".into()),
        workers: Some(4),
        listen: vec![ListenArg::Text("[::1]:2".into())],
        allow_host: vec!["b:1".into(), "c".into()],
        ..from_file
    };
    let config = flags.into_config().unwrap();
    assert_eq!((config.data_dir, config.workers), ("/b".into(), 4));
    assert_eq!(config.listen, parse_list("[::1]:2").unwrap());
    assert_eq!(config.allow_hosts, ["b:1".parse().unwrap(), "c".parse().unwrap()]);
    let bare = ServeArgs { data: Some("/c".into()), ..ServeArgs::default() }.into_config().unwrap();
    assert_eq!(bare.listen, parse_list(DEFAULT_LISTEN).unwrap());
    assert_eq!((bare.durability, bare.max_connections), (Durability::Sync, DEFAULT_MAX_CONNECTIONS));
    let (_directory, timed) = args("data = \"/a\"\ndurability = \"interval\"\nsync_interval_ms = 7");
    assert_eq!(timed.into_config().unwrap().durability, Durability::Interval { sync_interval_ms: 7 });
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (file, expected) in [
        ("", "no data directory"),
        ("colour = 1", "unknown field `colour`"),
        ("data = 1", "not understood: line 1"),
        ("data = \"/a\"\nworkers = x", "line 2"),
        ("data = \"/a\"\nworkers = 0", "--workers is 0"),
        ("data = \"/a\"\nworkers = 257", "--workers is 257"),
        ("data = \"/a\"\ndurability = \"soon\"", "give sync, interval or none"),
        ("data = \"/a\"\ndurability = \"interval\"\nsync_interval_ms = 0", "give 1 to 60000"),
        ("data = \"/a\"\njournal_file_mib = 1", "give 2 to 1024"),
        ("data = \"/a\"\nbackup_dir = \"/a/pools/b\"", "--backup-dir is /a/pools/b"),
        ("data = \"/a\"\nbackup_dir = \"/a\"", "--backup-dir is /a,"),
        ("data = \"/a\"\nmax_connections = 0", "--max-connections is 0"),
        (
            "data = \"/a\"\nmax_connections_per_address = 0",
            "--max-connections-per-address is 0: give 1 or more",
        ),
        ("data = \"/a\"\nmax_json = 1023", "--max-json is 1023: give 1024 or more"),
        ("data = \"/a\"\nmax_json = 8388609", "--max-json is 8388609: give at most 8388608"),
        ("data = \"/a\"\nmax_backups = 0", "--max-backups is 0"),
        ("data = \"/a\"\nlog_level = \"loud\"", "give error, warn, info or debug"),
        ("data = \"/a\"\nlog_format = \"xml\"", "give auto, human or json"),
        ("data = \"/a\"\nsync_interval_ms = 5", "--sync-interval-ms is for"),
        ("data = \"/a\"\nlisten = [\"0.0.0.0:1\"]", "--allow-plain-text"),
        ("data = \"/a\"\nlisten = [\"0.0.0.0:1\"]\nallow_plain_text = true", "--allow-anyone"),
        ("data = \"/a\"\nlisten = [\"0.0.0.0:1\"]\nallow_anyone = true", "--allow-plain-text"),
        (
            "data = \"/a\"\nlisten = [\"0.0.0.0:1,tls\"]\ntls_certificate = \"c\"\ntls_key = \"k\"",
            "--allow-anyone",
        ),
        ("data = \"/a\"\nlisten = [\"127.0.0.1:1,tls\"]", "give --tls-certificate and --tls-key"),
        (
            "data = \"/a\"\nlisten = [\"127.0.0.1:1\"]\ntls_certificate = \"c\"\ntls_key = \"k\"",
            "no listener speaks TLS",
        ),
        ("data = \"/a\"\ntls_certificate = \"c\"", "--tls-certificate needs --tls-key"),
        ("data = \"/a\"\ntls_key = \"c\"", "--tls-key needs --tls-certificate"),
        ("data = \"/a\"\ntls_client_ca = \"c\"", "--tls-client-ca needs --tls-certificate"),
        ("data = \"/a\"\ntls_client_required = true", "--tls-client-required needs --tls-client-ca"),
        ("data = \"/a\"\ntls_client_crl = \"c\"", "--tls-client-crl needs --tls-client-ca"),
        ("data = \"/a\"\ntls_1_2 = true", "--tls-1-2 needs --tls-certificate"),
        ("data = \"/a\"\ninsecure = true", "give --allow-plain-text (tokens"),
        ("data = \"/a\"\nlisten = [{ address = \"127.0.0.1:1\", colour = 1 }]", "unknown field `colour`"),
        ("data = \"/a\"\nlisten = [{ address = \"127.0.0.1:1\", calls = \"some\" }]", "give all or lease"),
        ("data = \"/a\"\nlisten = [{ address = \"127.0.0.1:1\", mode = \"660\" }]", "for socket files"),
        (
            "data = \"/a\"\nlisten = [{ address = \"unix:/s\", peers = { \"user:a\" = \"king\" } }]",
            "no role \"king\"",
        ),
        ("data = \"/a\"\nlisten = [7]", "an address or a table"),
        ("data = \"/a\"\nlisten = [\"here\"]", "is not an address"),
        ("data = \"/a\"\nallow_host = [\"http://a\"]", "--allow-host is \"http://a\""),
    ] {
        let (directory, args) = args(file);
        let message = args.into_config().unwrap_err().to_string();
        // What begins with a flag is named as the file has it.
        let path = directory.path().join("allotd.toml");
        let named = expected.strip_prefix("--").and_then(|flag| flag.split_once(' ')).map(|(flag, rest)| {
            format!("{} in the config file {} {rest}", flag.replace('-', "_"), path.display())
        });
        let is_as_expected = message.contains(expected) && named.is_none();
        assert!(
            is_as_expected || named.is_some_and(|named| message.starts_with(&named)),
            "{file}: {message}"
        );
    }
    let missing = ServeArgs { config: Some("/no/such/file".into()), ..ServeArgs::default() };
    assert!(missing.into_config().unwrap_err().to_string().contains("/no/such/file"));
}

#[test]
fn other_machines_are_let_in_only_when_told() {
    let tls = "tls_certificate = \"c\"\ntls_key = \"k\"\nlisten = [\"0.0.0.0:1,tls\"]\n";
    for (file, listeners) in [
        ("listen = [\"0.0.0.0:1\"]\nallow_plain_text = true\nallow_anyone = true".to_owned(), 1),
        (format!("{tls}allow_anyone = true"), 1),
        (format!("{tls}tls_client_ca = \"a\"\ntls_client_required = true"), 1),
        (
            "listen = [\"127.0.0.1:1\", { address = \"unix:/s\", mode = \"660\", group = \"ops\" }]"
                .to_owned(),
            2,
        ),
    ] {
        let (_directory, args) = args(&format!("data = \"/a\"\n{file}"));
        assert_eq!(args.into_config().unwrap().listen.len(), listeners, "{file}");
    }
    // Certificates protect those listeners only that ask for them.
    let file = format!("{tls}tls_client_ca = \"a\"\ntls_client_required = true\nallow_plain_text = true");
    let (_directory, args) =
        args(&format!("data = \"/a\"\n{}", file.replace(":1,tls\"]", ":1,tls\", \"0.0.0.0:2\"]")));
    assert!(matches!(args.into_config(), Err(ConfigError::Anyone(_))));
}

/// The example with its keys uncommented, except those in `left_out`.
fn example_without(left_out: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/packaging/allotd.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let is_left_out = |line: &str| left_out.iter().any(|key| line.starts_with(&format!("#{key} = ")));
    let lines = text.lines().filter(|line| !is_left_out(line)).map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_has_every_key() {
    // Destructured in full, so that a new key cannot be left out.
    let ServeArgs {
        config: _,
        data,
        listen,
        allow_host,
        workers,
        max_connections,
        max_connections_per_address,
        max_json,
        max_upload,
        max_numbers,
        max_backups,
        events_keep,
        durability,
        sync_interval_ms,
        journal_file_mib,
        backup_dir,
        audit_log,
        given: _,
        recover_damaged,
        accept_clock,
        serve_at_once,
        tokens,
        tls_certificate,
        tls_key,
        tls_client_ca,
        tls_client_crl,
        tls_client_required,
        tls_1_2,
        allow_plain_text,
        allow_anyone,
        insecure,
        cluster,
        etcd,
        etcd_ca,
        etcd_cert,
        etcd_key,
        etcd_user_file,
        advertise,
        cluster_ca,
        member,
        cluster_ttl,
        require_replicas,
        log_keep_mib,
        log_level,
        log_format,
        log_numbers,
        slow_call_ms,
    } = toml::from_str(&example_without(&[])).unwrap();
    assert!(tokens.is_some());
    assert!(allow_host.is_empty(), "the example shows the default");
    assert!(!listen.is_empty());
    assert!(data.is_some() && workers.is_some() && max_connections.is_some());
    assert!(max_connections_per_address.is_some() && max_json.is_some() && max_upload.is_some());
    assert!(max_numbers.is_some() && max_backups.is_some() && events_keep.is_some());
    assert!(durability.is_some() && journal_file_mib.is_some() && audit_log.is_some());
    assert!(recover_damaged.is_some() && accept_clock.is_some() && serve_at_once.is_some());
    assert!(log_level.is_some() && log_format.is_some() && log_numbers.is_some() && slow_call_ms.is_some());
    assert_eq!((insecure, sync_interval_ms), (None, Some(DEFAULT_SYNC_INTERVAL_MS)));
    assert!(tls_certificate.is_some() && tls_key.is_some());
    assert!(tls_client_ca.is_some() && tls_client_crl.is_some());
    assert_eq!((tls_client_required, tls_1_2), (Some(false), Some(false)));
    assert_eq!((allow_plain_text, allow_anyone), (Some(false), Some(false)));
    assert!(cluster.is_some() && !etcd.is_empty() && etcd_ca.is_some() && etcd_user_file.is_some());
    assert!(etcd_cert.is_some() && etcd_key.is_some() && cluster_ca.is_some());
    assert!(advertise.is_some() && member.is_some());
    assert_eq!((cluster_ttl, require_replicas), (Some(DEFAULT_CLUSTER_TTL_SECONDS), Some(0)));
    assert_eq!(log_keep_mib, Some(DEFAULT_LOG_KEEP_MIB));
    let engine = crate::engine::startup::config::EngineConfig::new(data.unwrap(), 1);
    assert_eq!(backup_dir.unwrap(), engine.backup_dir);
}

#[test]
fn the_example_shows_the_defaults() {
    // These have no default, or one that another test compares.
    let (_directory, shown) = args(&example_without(&[
        "workers",
        "tokens",
        "sync_interval_ms",
        "backup_dir",
        "audit_log",
        "tls_certificate",
        "tls_key",
        "tls_client_ca",
        "tls_client_crl",
        "max_connections_per_address",
        "max_numbers",
        "max_backups",
        "events_keep",
        "cluster",
        "etcd",
        "etcd_ca",
        "etcd_cert",
        "etcd_key",
        "etcd_user_file",
        "advertise",
        "cluster_ca",
        "member",
        "cluster_ttl",
        "require_replicas",
        "log_keep_mib",
    ]));
    let bare = ServeArgs { data: Some("/var/lib/allotd".into()), ..ServeArgs::default() };
    assert_eq!(shown.into_config().unwrap(), bare.into_config().unwrap());
}

#[test]
fn every_flag_is_in_the_documents() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let read = |path: &str| std::fs::read_to_string(directory.join(path)).unwrap();
    let (table, example) = (read("operations/configuration.md"), read("packaging/allotd.toml"));
    for flag in ServeArgs::augment_args(clap::Command::new("serve")).get_arguments() {
        if flag.is_hide_set() {
            continue;
        }
        let (key, long) = (flag.get_id().as_str(), flag.get_long().unwrap());
        let variable = flag.get_env().unwrap().to_str().unwrap();
        let is_its_row =
            |row: &str| row.contains(&format!("`--{long}`")) && row.contains(&format!("`{variable}`"));
        let row = table.lines().find(|row| is_its_row(row));
        let row = row.unwrap_or_else(|| panic!("configuration.md has no row of --{long} and {variable}"));
        if key != "config" {
            assert!(row.contains(&format!("| `{key}`")), "{row}");
            assert!(example.contains(&format!("{key} = ")), "allotd.toml has no {key}");
        }
    }
}
