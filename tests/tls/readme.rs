//! The README's way to a daemon with TLS and tokens, word by word.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The commands of the README under this heading.
fn commands(heading: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

#[test]
fn the_commands_of_the_readme_work_as_they_are() {
    let commands = commands("On a network\n");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert!(commands.contains("0.0.0.0:7443") && commands.contains("https://localhost:7443"));
    // Other addresses and ports of this machine are not the test's.
    let commands = commands.replace("0.0.0.0:7443", "127.0.0.1:7443").replace("7443", &port.to_string());
    let directory = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_allotd"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    // Whoever types the next command is slower than the daemon; a script is not.
    let ready = format!(
        "for _ in $(seq 400); do (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && break; sleep 0.05; done\n"
    );
    let commands = commands.replace(" &\n", &format!(" &\n{ready}"));
    assert!(commands.contains(&ready), "a daemon in the background");
    // It ends with the script, however that ends.
    let script = format!("set -e\ntrap 'kill %1; wait %1' EXIT\n{commands}");
    let mut command = Command::new("bash");
    command.args(["-mc", &script]).current_dir(directory.path()).process_group(0);
    command.env_clear().env("PATH", path).env("HOME", directory.path()).env("ALLOTD_LOG_LEVEL", "warn");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.lines().any(|line| line.starts_with("79120000") && line.contains(':')), "{said}");
}
