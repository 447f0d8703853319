//! What operators do to keep a daemon in order, by the real binary: reloads and backups and how they are reported,
//! `serve --check`, `doctor`, the clock, and messages that blame what is to blame.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::daemon::{Daemon, allotd, one_line_failure};
use crate::support::logged::Logged;
use crate::support::{Client, PATIENCE_SECONDS};
use rustix::process::{Signal, geteuid};
use serde_json::{Value, json};

/// A user without rights of its own.
const NOBODY: u32 = 65_534;

fn stats(client: &mut Client) -> Value {
    client.call("GET", "/v1/stats").unwrap().json()
}

fn create(client: &mut Client, numbers: &str) {
    assert_eq!(client.send("PUT", "/v1/pools/ru", "text/plain", numbers.as_bytes()).unwrap().status, 201);
}

fn metric(client: &mut Client, name: &str) -> Option<f64> {
    let text = client.call("GET", "/metrics").unwrap().body;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_result_of_the_last_reload_is_in_stats_and_metrics() {
    let logged = Logged::start_with(&[], |command, directory| {
        fs::write(directory.join("allotd.toml"), "workers = 2\n").unwrap();
        command.arg("--config").arg(directory.join("allotd.toml"));
    });
    let mut client = logged.daemon.client();
    assert_eq!(stats(&mut client)["reload"], json!({"at": null, "error": null}));
    fs::write(logged.path("allotd.toml"), "workers = 0\n").unwrap();
    logged.daemon.signal(Signal::HUP);
    let told = logged.wait_for("reload_failed", 1).remove(0);
    let expected =
        format!("workers in the config file {} is 0: give 1", logged.path("allotd.toml").display());
    assert!(told["message"].as_str().unwrap().contains(&expected), "{told}");
    let reload = stats(&mut client)["reload"].clone();
    assert!(reload["error"].as_str().unwrap().contains(&expected) && reload["at"].is_string(), "{reload}");
    assert_eq!(metric(&mut client, "allotd_reload_failed"), Some(1.0));
    fs::write(logged.path("allotd.toml"), "workers = 2\n").unwrap();
    logged.daemon.signal(Signal::HUP);
    logged.wait_for("reloaded", 1);
    assert_eq!(stats(&mut client)["reload"]["error"], Value::Null);
    assert_eq!(metric(&mut client, "allotd_reload_failed"), Some(0.0));
}

#[test]
fn backups_by_time_are_kept_in_number_and_the_last_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let mut client = daemon.client();
    create(&mut client, "100000-100099\n");
    assert_eq!(metric(&mut client, "allotd_backup_timestamp_seconds"), None);
    assert!(daemon.ok(&["backup", "--name", "mine", "--verify"]).contains("verified  yes"));
    let made = |client: &mut Client| {
        // Named by the second.
        std::thread::sleep(Duration::from_millis(1_100));
        let made = client.post("/v1/backup", &json!({"keep": 2, "verify": true})).unwrap();
        assert_eq!(made.status, 200, "{made:?}");
        made.json()
    };
    let [first, second, third] = [0; 3].map(|_| made(&mut client));
    assert_eq!((&second["removed"], &second["verified"]), (&json!([]), &json!(true)));
    assert_eq!(third["removed"], json!([first["backup"]]));
    let mut names: Vec<_> = fs::read_dir(directory.path().join("backups"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    assert_eq!(names, [second["backup"].as_str().unwrap(), third["backup"].as_str().unwrap(), "mine"]);
    for (body, words) in [
        (json!({"keep": 0}), "give 1 to"),
        (json!({"keep": 1, "name": "x"}), "leave out name, or keep"),
        (json!({"verify": 1}), "expected a boolean"),
    ] {
        let refused = client.post("/v1/backup", &body).unwrap();
        assert!(refused.status == 400 && refused.body.contains(words), "{refused:?}");
    }
    let told = stats(&mut client)["backup"].clone();
    assert_eq!((&told["name"], &told["error"]), (&third["backup"], &Value::Null));
    // A failure is told until the next success; a name that exists is none.
    assert_eq!(client.post("/v1/backup", &json!({"name": "mine"})).unwrap().status, 409);
    assert_eq!(metric(&mut client, "allotd_backup_failed"), Some(0.0));
    assert_eq!(daemon.stop(), Some(0));
    // The newest is known after a restart, and what is wrong with the directory is told at the start.
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let daemon = Daemon::start(directory.path());
    let again = stats(&mut daemon.client())["backup"].clone();
    assert_eq!((&again["name"], &again["at"]), (&third["backup"], &Value::Null));
    assert_eq!(daemon.stop(), Some(0));
    let logged = Logged::start_with(&[], |command, directory| {
        fs::write(directory.join("file"), "").unwrap();
        command.arg("--backup-dir").arg(directory.join("file/backups"));
    });
    let told = logged.wait_for("backups_impossible", 1).remove(0);
    assert!(told["message"].as_str().unwrap().contains("file"), "{told}");
    let mut client = logged.daemon.client();
    assert_eq!(client.post("/v1/backup", &json!({})).unwrap().status, 500);
    assert_eq!(metric(&mut client, "allotd_backup_failed"), Some(1.0));
    assert!(stats(&mut client)["backup"]["error"].is_string());
}

#[test]
fn a_value_is_blamed_on_where_it_was_given() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("allotd.toml");
    fs::write(&file, "workers = 0\nlog_level = \"loud\"\n").unwrap();
    let serve = |change: &dyn Fn(&mut Command)| {
        let mut command = allotd();
        command.env_remove("ALLOTD_LOG_LEVEL").args(["serve", "--data"]).arg(directory.path().join("data"));
        change(&mut command);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        stderr(&output)
    };
    let of_environment = serve(&|command| {
        command.env("ALLOTD_WORKERS", "0");
    });
    assert!(
        of_environment.contains("ALLOTD_WORKERS is 0") && !of_environment.contains("--workers"),
        "{of_environment}"
    );
    let unreadable = serve(&|command| {
        command.env("ALLOTD_WORKERS", "many");
    });
    assert!(unreadable.contains("ALLOTD_WORKERS") && !unreadable.contains("'--workers"), "{unreadable}");
    let of_file = serve(&|command| {
        command.arg("--log-level=info").arg("--config").arg(&file);
    });
    assert!(of_file.contains(&format!("workers in the config file {} is 0", file.display())), "{of_file}");
    let of_flag = serve(&|command| {
        command.args(["--workers", "0"]).arg("--config").arg(&file).env("ALLOTD_LOG_LEVEL", "info");
    });
    assert!(of_flag.contains("--workers is 0"), "{of_flag}");
}

/// Starts a daemon on `data` that has to fail, as a user without rights if this is the administrator.
fn failed_start(data: &Path, as_nobody: bool) -> String {
    let mut command = allotd();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    if as_nobody && geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    one_line_failure(&output, 1, "");
    stderr(&output)
}

fn each_below(path: &Path, change: &dyn Fn(&Path)) {
    change(path);
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            each_below(&entry.unwrap().path(), change);
        }
    }
}

#[test]
fn what_is_missing_or_not_permitted_names_a_way_out() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let data = directory.path().join("data");
    let daemon = Daemon::start(&data);
    create(&mut daemon.client(), "100000-100099\n");
    assert_eq!(daemon.stop(), Some(0));
    let words = data.join("pools/ru/0001.words");
    if geteuid().is_root() {
        each_below(&data, &|path| chown(path, Some(NOBODY), Some(NOBODY)).unwrap());
        chown(&words, Some(0), Some(0)).unwrap();
    } else {
        fs::set_permissions(&words, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let said = failed_start(&data, true);
    let owner = fs::metadata(&words).unwrap().uid();
    let owner = if owner == 0 { "root".to_owned() } else { owner.to_string() };
    for words in ["0001.words", &format!("belongs to {owner}")[..12], "this process runs as", "with ch"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("reports all damage"), "{said}");
    let mut command = allotd();
    command.args(["serve", "--check", "--data"]).arg(&data);
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let checked = command.output().unwrap();
    let fault = stdout(&checked);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    assert!(fault.lines().any(|line| line.starts_with("fault") && line.contains("0001.words")), "{fault}");
    fs::set_permissions(&words, fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(&words).unwrap();
    let said = failed_start(&data, false);
    for words in ["0001.words is missing", "Restore a backup", "--format roaring"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_refusal_to_delete_names_the_flag_to_who_gave_flags() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let mut client = daemon.client();
    create(&mut client, "100000-100099\n");
    assert_eq!(client.call("POST", "/v1/pools/ru/lease").unwrap().status, 200);
    let refused = client.call("DELETE", "/v1/pools/ru").unwrap();
    assert!(refused.status == 409 && refused.body.contains("force=true"), "{refused:?}");
    let mut command = allotd();
    let output = command.args(["pool", "delete", "ru", "--server", &daemon.url]).output().unwrap();
    one_line_failure(&output, 1, "delete it with --force");
    assert!(!stderr(&output).contains("force=true"), "{output:?}");
}

#[test]
fn a_check_before_the_start_and_a_doctor_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let check = |flags: &[&str]| {
        let mut command = allotd();
        command.args(["serve", "--check", "--data"]).arg(directory.path().join("data")).args(flags);
        command.output().unwrap()
    };
    let fine = check(&["--listen", "127.0.0.1:0"]);
    let said = stdout(&fine);
    assert_eq!(fine.status.code(), Some(0), "{fine:?}");
    for subject in ["config", "data", "listen", "backups", "mount", "space", "open files", "clock"] {
        assert!(
            said.lines().any(|line| line.get(8..).is_some_and(|rest| rest.starts_with(subject))),
            "{subject}: {said}"
        );
    }
    assert!(!directory.path().join("data").exists(), "nothing is created");
    assert_eq!(check(&["--workers", "0"]).status.code(), Some(2));
    let missing = directory.path().join("tokens.toml").display().to_string();
    let refused = check(&["--listen", "127.0.0.1:0", "--tokens", &missing]);
    assert!(refused.status.code() == Some(1) && stdout(&refused).contains("fault   tokens"), "{refused:?}");

    let daemon = Daemon::start(&directory.path().join("data"));
    let taken = check(&["--listen", &daemon.address.to_string()]);
    assert!(stdout(&taken).contains("a daemon runs on"), "{taken:?}");
    let doctor = || allotd().args(["doctor", "--server", &daemon.url]).output().unwrap();
    let healthy = doctor();
    assert_eq!(healthy.status.code(), Some(0), "{healthy:?}");
    assert!(stdout(&healthy).contains("warning backup      there is none"), "{healthy:?}");
    let mut client = daemon.client();
    create(&mut client, "100000\n");
    assert_eq!(client.call("POST", "/v1/pools/ru/lease").unwrap().status, 200);
    assert_eq!(client.call("POST", "/v1/pools/ru/lease").unwrap().status, 409);
    let ill = doctor();
    assert_eq!(ill.status.code(), Some(1), "{ill:?}");
    assert!(stdout(&ill).contains("fault   pool        ru has no number to lease (1 leased"), "{ill:?}");
    assert!(stdout(&ill).contains("1 call in the last minute got exhausted"), "{ill:?}");
}

#[test]
fn a_clock_that_is_a_day_off_is_told_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    assert_eq!(Daemon::start(&data).stop(), Some(0));
    // By the clock that counts from the boot a day has passed, by the system's none.
    let mut command = Command::new("unshare");
    command
        .args(["--time", "--boottime", "86400", "--fork", "--kill-child"])
        .arg(env!("CARGO_BIN_EXE_allotd"));
    let can = Command::new("unshare").args(["--time", "--boottime", "86400", "true"]).status();
    if !can.is_ok_and(|status| status.success()) {
        println!("SKIPPED: this needs the right to make a namespace of time");
        return;
    }
    command
        .env_clear()
        .args(["serve", "--log-format", "json", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data);
    let log = directory.path().join("log");
    command.stderr(fs::File::create(&log).unwrap());
    let daemon = Daemon::spawn(command).unwrap();
    let mut client = daemon.client();
    let ahead = stats(&mut client)["clock"]["ahead_seconds"].as_f64().unwrap();
    assert!((ahead + 86_400.0).abs() < 5.0, "{ahead}");
    assert!((metric(&mut client, "allotd_clock_ahead_seconds").unwrap() - ahead).abs() < 1.0);
    let doctor = allotd().args(["doctor", "--server", &daemon.url]).output().unwrap();
    assert!(stdout(&doctor).contains("s behind the time of the leases"), "{doctor:?}");
    let started = std::time::Instant::now();
    while !fs::read_to_string(&log).unwrap().contains("clock_off") {
        assert!(started.elapsed().as_secs() < PATIENCE_SECONDS, "{}", fs::read_to_string(&log).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
}
