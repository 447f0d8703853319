//! The commands, end to end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::daemon::{Daemon, allotd, one_line_failure};

#[test]
fn a_pool_from_its_creation_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let numbers = directory.path().join("numbers.csv");
    std::fs::write(&numbers, "first,last\n100,109\n").unwrap();
    let numbers = numbers.to_str().unwrap();
    let daemon = Daemon::start(&data);
    assert!(daemon.ok(&["pool", "create", "ru", numbers, "--order", "lowest"]).contains("numbers     10"));
    assert!(daemon.ok(&["pool", "list"]).contains("ru         10         10  100 %       0 "));
    assert!(daemon.ok(&["pool", "map", "ru"]).contains("in 10 parts of 1\n\navailable |██████████|"));
    assert!(daemon.ok(&["pool", "map", "ru", "--buckets=2", "--json"]).contains("\"bucket_width\":5"));
    let lease = daemon.ok(&["lease", "ru", "--within", "105"]);
    let held = lease.split('\t').next().unwrap();
    assert!(held.starts_with("105:"));
    assert!(daemon.ok(&["renew", "ru", held, "--ttl", "900"]).contains("renewed"));
    assert!(daemon.ok(&["return", "ru", held, "--then", "rest:60"]).contains("resting"));
    assert_eq!(daemon.ok(&["pool", "export", "ru", "--state", "resting"]), "105\n");
    let shown = daemon.ok(&["pool", "number", "ru", "105"]);
    for line in ["number      105\nstate       resting\n", "until       ", "leasable    no"] {
        assert!(shown.contains(line), "{shown}");
    }
    one_line_failure(&daemon.run(&["pool", "number", "ru", "99"]), 1, "(number_not_found)");
    assert!(
        daemon.ok(&["pool", "retire", "ru", numbers, "--dry-run", "--json"]).starts_with("{\"retired\":10")
    );
    let set = daemon.ok(&["pool", "set", "ru", "--ttl", "7", "--outcome", "ok=done"]);
    assert!(set.lines().any(|line| line.split_whitespace().eq(["ttl", "7", "s"])), "{set}");
    assert!(set.lines().any(|line| line.split_whitespace().eq(["outcome", "ok", "done"])), "{set}");
    assert!(daemon.ok(&["pool", "pause", "ru"]).contains("paused  yes"));
    one_line_failure(&daemon.run(&["lease", "ru"]), 1, "(paused)");
    daemon.ok(&["pool", "resume", "ru"]);
    assert!(daemon.ok(&["pool", "round", "ru"]).contains('2'));
    assert!(daemon.ok(&["stats"]).contains("durability sync"));
    assert!(daemon.ok(&["stats", "--json"]).starts_with("{\"version\""));
    one_line_failure(&daemon.run(&["pool", "show", "nope"]), 1, "(pool_not_found)");
    one_line_failure(&daemon.run(&["pool", "show", ".."]), 2, "not a pool name");
    let not_a_file = directory.path().to_str().unwrap();
    one_line_failure(&daemon.run(&["pool", "create", "dir", not_a_file]), 1, "Is a directory");
    let second = allotd().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data).output().unwrap();
    one_line_failure(&second, 1, "in use");
    let port = daemon.url.strip_prefix("http://").unwrap();
    let other = directory.path().join("other");
    let taken = allotd().args(["serve", "--listen", port, "--data"]).arg(&other).output().unwrap();
    one_line_failure(&taken, 1, "in use by another process");
    let taken = allotd().args(["demo", "--listen", port, "--data"]).arg(&other).output().unwrap();
    one_line_failure(&taken, 1, "in use by another process");
    assert_eq!(String::from_utf8_lossy(&taken.stdout), "", "it is told before any work");
    assert!(!other.exists(), "nothing half-made");
    assert_eq!(daemon.stop(), Some(0));
    let daemon = Daemon::start(&data);
    assert!(daemon.ok(&["pool", "export", "ru", "--state", "resting"]).contains("105"));
    daemon.ok(&["pool", "delete", "ru"]);
    assert_eq!(daemon.stop(), Some(0));
    let checked = allotd().arg("check").arg(&data).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

#[test]
fn wrong_usage_is_2_and_failure_is_1() {
    for (args, code, words) in [
        (&["serve"][..], 2, "--data"),
        (&["serve", "--data", "/tmp/a", "--durability", "often"], 2, "give sync, interval or none"),
        (&["serve", "--data", "/tmp/a", "--sync-interval-ms", "5"], 2, "leave it out"),
        (&["serve", "--data", "/tmp/a", "--listen", "0.0.0.0:1"], 2, "--allow-plain-text"),
        (&["serve", "--data", "/tmp/a", "--listen", "7979"], 2, "127.0.0.1:7979"),
        (&["serve", "--data", "/tmp/a", "--max-connections", "0"], 2, "give 1 or more"),
        (&["serve", "--data", "/tmp/a", "--workers", "257"], 2, "give 1 to 256"),
        (&["serve", "--config", "/no/such/file"], 2, "/no/such/file"),
        (&["serve", "--data", "/proc/version/a"], 1, "/proc/version"),
        (&["check", "/no/such/directory"], 1, "/no/such/directory is not a data directory"),
        (&["stats", "--server", "http://127.0.0.1:1"], 1, "allotd serve"),
        (&["pool", "create", "ru", "/no/such/file"], 1, "/no/such/file"),
        (&["stats", "--server", "ftp://a"], 2, "unix:PATH"),
        (&["renew", "ru", "7"], 2, "NUMBER:TOKEN"),
    ] {
        one_line_failure(&allotd().args(args).output().unwrap(), code, words);
    }
    // These are reported by the parser of the command line, in more than one line.
    for (args, words) in [
        (&["fly"][..], "fly"),
        (&["serve", "--colour"], "--colour"),
        (&["serve", "--workers", "many"], "--workers"),
        (&["serve", "--data"], "--data"),
        (&["demo", "--numbers", "0"], "--numbers"),
        (&["stats", "--interval-seconds", "2"], "--watch"),
        (&["stats", "--watch", "--interval-seconds", "0"], "--interval-seconds"),
        (&["pool", "export", "ru", "--json"], "--json"),
        (&["pool", "number", "ru", "seven"], "seven"),
        (&["completions", "cmd"], "powershell"),
        (&["pool", "create", "ru"], "<FILE>"),
        (&["pool", "create", "ru", "a.txt", "--format", "xml"], "roaring"),
    ] {
        let output = allotd().args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(words), "{args:?}: {text}");
    }
}

/// Every file below a directory, with its content.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut content(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_directory_that_is_not_ours_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let made = directory.path().join("made");
    let daemon = Daemon::start(&made);
    daemon.client().send("PUT", "/v1/pools/p", "text/csv", b"first,last\n1,9\n").unwrap();
    assert_eq!(daemon.stop(), Some(0));
    let copy = |name: &str| {
        let to = directory.path().join(name);
        for (path, content) in content(&made) {
            let path = to.join(path.strip_prefix(&made).unwrap());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        to
    };
    let other_version = copy("version");
    std::fs::write(other_version.join("LOCK"), "allotd data directory, format 9\n").unwrap();
    let other_pool = copy("pool");
    let manifest = other_pool.join("pools/p/pool.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let rest = text.split_once('\n').unwrap().1.replace("format = 5", "format = 9");
    std::fs::write(&manifest, format!("crc32c = \"{:08x}\"\n{rest}", crc32c::crc32c(rest.as_bytes())))
        .unwrap();
    let not_ours = directory.path().join("not-ours");
    std::fs::create_dir(&not_ours).unwrap();
    std::fs::write(not_ours.join("letters.txt"), "mine").unwrap();
    let damaged = copy("damaged");
    std::fs::write(damaged.join("pools/p/0001.words"), [0; 7]).unwrap();
    for (data, words) in [
        (&other_version, "use the version that wrote it"),
        (&other_pool, "use the version of allotd that wrote it"),
        (&not_ours, "give an empty directory"),
        (&damaged, "allotd check"),
    ] {
        let before = content(data);
        for command in ["serve", "demo"] {
            let mut command = allotd_on_a_picked_port(command);
            one_line_failure(&command.arg("--data").arg(data).output().unwrap(), 1, words);
        }
        assert_eq!(content(data), before, "{words}");
        let checked = allotd().arg("check").arg(data).output().unwrap();
        assert_eq!(checked.status.code(), Some(1), "{checked:?}");
        assert_eq!(content(data), before, "{words}");
    }
    let file = not_ours.join("letters.txt");
    for data in [&file, &file.join("data")] {
        let output = allotd_on_a_picked_port("serve").arg("--data").arg(data).output().unwrap();
        one_line_failure(&output, 1, "give a directory");
    }
}

fn allotd_on_a_picked_port(name: &str) -> Command {
    let mut command = allotd();
    command.args([name, "--listen", "127.0.0.1:0"]);
    command
}

#[test]
fn environment_wins_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("allotd.toml");
    std::fs::write(&file, "data = \"/tmp/a\"\nworkers = 0\n").unwrap();
    let serve = |workers: Option<&str>| {
        let mut command = allotd();
        command.arg("serve").env("ALLOTD_CONFIG", &file).env("ALLOTD_DURABILITY", "often");
        if let Some(workers) = workers {
            command.env("ALLOTD_WORKERS", workers);
        }
        command.output().unwrap()
    };
    one_line_failure(&serve(None), 2, "allotd.toml is 0");
    one_line_failure(&serve(Some("999")), 2, "ALLOTD_WORKERS is 999");
    one_line_failure(&serve(Some("1")), 2, "ALLOTD_DURABILITY is");
}
