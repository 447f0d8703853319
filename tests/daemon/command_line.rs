//! The help, the completions and the manual pages: of every command, and right for the programs that read them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::daemon::allotd;

/// What `allotd` prints with these arguments.
fn printed(args: &[&str]) -> String {
    let output = allotd().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The subcommands that a help lists.
fn subcommands(help: &str) -> Vec<String> {
    let Some((_, list)) = help.split_once("Commands:\n") else { return Vec::new() };
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    lines.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

/// Every command, as the words after `allotd`.
fn commands() -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = vec![Vec::new()];
    let mut place = 0;
    while place < found.len() {
        let command = found[place].clone();
        let mut args: Vec<&str> = command.iter().map(String::as_str).collect();
        args.push("--help");
        let below = subcommands(&printed(&args)).into_iter().filter(|name| name != "help");
        found.extend(below.map(|name| [command.as_slice(), &[name]].concat()));
        place += 1;
    }
    assert!(found.len() > 20, "{found:?}");
    found
}

/// Whether a program is there; says so if it is not.
fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("SKIPPED: {program} is not installed");
    }
    found
}

/// Gives a text to a program, which must have nothing to say of it.
fn assert_accepts(program: &str, args: &[&str], text: &str) {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{program}: {said}");
}

#[test]
fn every_flag_is_explained_by_a_sentence() {
    for command in commands() {
        let mut args: Vec<&str> = command.iter().map(String::as_str).collect();
        args.push("-h");
        let help = printed(&args);
        let lines: Vec<&str> = help.lines().collect();
        for (flag, next) in lines.iter().zip(lines.iter().skip(1).chain([&""])) {
            if !flag.trim_start().starts_with('-') {
                continue;
            }
            // With a long flag among them, the explanations are on lines of their own.
            let words = flag.trim_start().split_once("  ").map_or(*next, |(_, words)| words).trim();
            let starts_well = words.chars().next().is_some_and(char::is_uppercase);
            assert!(starts_well && words.split_whitespace().count() > 1, "{command:?}: {flag}");
        }
    }
}

#[test]
fn shells_read_the_completions() {
    for (shell, program, args) in [
        ("bash", "bash", &["-n"][..]),
        ("zsh", "zsh", &["-n"]),
        ("fish", "fish", &["--no-execute"]),
        ("elvish", "elvish", &["-compileonly"]),
    ] {
        let script = printed(&["completions", shell]);
        for word in ["reinstate", "interval-seconds", "completions"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        if is_there(program) {
            assert_accepts(program, args, &script);
        }
    }
    assert!(printed(&["completions", "powershell"]).contains("Register-ArgumentCompleter"));
}

#[test]
fn bash_completes_commands_and_flags() {
    let script = printed(&["completions", "bash"]);
    let complete = |words: &[&str]| {
        let last = words.len() - 1;
        let ask = format!(
            "{script}\nCOMP_WORDS=({}); COMP_CWORD={last}; _allotd allotd '{}' '{}'; echo \"${{COMPREPLY[*]}}\"",
            words.join(" "),
            words[last],
            words[last - 1],
        );
        // It is too long for an argument.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), ask).unwrap();
        let output = Command::new("bash").arg(file.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete(&["allotd", "pool", "rei"]), "reinstate");
    assert_eq!(complete(&["allotd", "stats", "--int"]), "--interval-seconds");
    assert_eq!(complete(&["allotd", "completions", "power"]), "powershell");
}

#[test]
fn every_command_has_a_manual_page_without_faults() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    assert_eq!(printed(&["man", pages.to_str().unwrap()]), "");
    let page = |command: &[String]| {
        let name = [&["allotd".to_owned()], command].concat().join("-");
        std::fs::read_to_string(pages.join(format!("{name}.1")))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let commands = commands();
    for command in &commands {
        let text = page(command);
        assert!(text.contains("\n.SH NAME\n") && text.contains("\n.SH SYNOPSIS\n"), "{command:?}");
        if is_there("groff") {
            assert_accepts("groff", &["-man", "-Tutf8", "-Wall", "-ww", "-z"], &text);
        }
    }
    assert_eq!(std::fs::read_dir(&pages).unwrap().count(), commands.len());
    assert_eq!(printed(&["man"]), page(&[]));
    let not_a_directory = Path::new(env!("CARGO_BIN_EXE_allotd")).to_str().unwrap();
    let refused = allotd().args(["man", not_a_directory]).output().unwrap();
    crate::support::daemon::one_line_failure(&refused, 1, "Give another directory");
}
