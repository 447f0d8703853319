//! `allotd list …`: the lists that pools are blocked by.

use std::io::{self, IsTerminal};

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::Value;

use crate::client::{self, Call};

use super::error::CliError;
use super::figures::grouped;
use super::output::{self, cell, figures, table, words};
use super::pool::list_name;
use super::progress::{self, Counted};
use super::remote::{Remote, ServerArgs};
use super::upload::UploadArgs;

#[derive(Debug, Subcommand)]
pub(super) enum ListCommand {
    /// Create a list, empty or from files of numbers
    #[command(mut_arg("files", |files| files.required(false)))]
    Create(UploadedArgs),
    /// Show a list, or all
    Show {
        /// Name of the list; all without one
        name: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Put the numbers in files on a list: no pool that it blocks leases them any more
    Add(ChangeArgs),
    /// Take the numbers in files off a list
    Remove(ChangeArgs),
    /// Exchange all numbers of a list for those in files
    Replace(ChangeArgs),
    /// Tell whether a number is on a list
    Number {
        /// Name of the list
        name: String,
        /// The number, in international form without signs
        number: u64,
        #[command(flatten)]
        remote: Remote,
    },
    /// Write the numbers of a list to standard output
    Export {
        /// Name of the list
        name: String,
        /// Write a portable Roaring bitmap
        #[arg(long)]
        roaring: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Delete a list that no pool uses
    Delete {
        /// Name of the list
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Debug, Args)]
pub(super) struct UploadedArgs {
    /// Name of the list
    name: String,
    #[command(flatten)]
    upload: UploadArgs,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    #[command(flatten)]
    uploaded: UploadedArgs,
    /// Only count what would change, in each pool
    #[arg(long)]
    dry_run: bool,
}

fn list_path(name: &str, rest: &str) -> Result<String, CliError> {
    Ok(format!("/v1/lists/{}{rest}", list_name(name)?))
}

pub(super) fn run(command: ListCommand) -> Result<(), CliError> {
    match command {
        ListCommand::Create(UploadedArgs { name, upload, remote }) => {
            let path = list_path(&name, "")?;
            if upload.is_empty() {
                return remote.call(Call::new(Method::PUT, &path), output::members);
            }
            upload.send(&remote, Method::PUT, &path, Vec::new())
        }
        ListCommand::Show { name: None, remote } => {
            remote.call(Call::new(Method::GET, "/v1/lists"), |answer| lists(&answer["lists"]))
        }
        ListCommand::Show { name: Some(name), remote } => {
            let show = |answer: &Value| lists(&Value::Array(vec![answer.clone()]));
            remote.call(Call::new(Method::GET, &list_path(&name, "")?), show)
        }
        ListCommand::Add(args) => change(&args, "/numbers"),
        ListCommand::Remove(args) => change(&args, "/remove"),
        ListCommand::Replace(args) => change(&args, "/replace"),
        ListCommand::Number { name, number, remote } => {
            let path = list_path(&name, &format!("/numbers/{number}"))?;
            remote.call(Call::new(Method::GET, &path), output::members)
        }
        ListCommand::Export { name, roaring, server } => export(&name, roaring, &server),
        ListCommand::Delete { name, remote } => {
            remote.call(Call::new(Method::DELETE, &list_path(&name, "")?), output::members)
        }
    }
}

fn change(args: &ChangeArgs, rest: &str) -> Result<(), CliError> {
    let UploadedArgs { name, upload, remote } = &args.uploaded;
    let parameters = if args.dry_run { vec![("dry_run", "true".to_owned())] } else { Vec::new() };
    upload.send(remote, Method::POST, &list_path(name, rest)?, parameters)
}

fn export(name: &str, roaring: bool, server: &ServerArgs) -> Result<(), CliError> {
    let out = io::stdout().lock();
    if roaring && out.is_terminal() {
        return Err(CliError::Usage("a Roaring bitmap is not for a terminal: add > FILE".to_owned()));
    }
    let accept = if roaring { "application/octet-stream" } else { "text/plain" };
    let path = list_path(name, "/numbers")?;
    let call = Call { accept: Some(accept), ..Call::new(Method::GET, &path) };
    let bar = progress::download();
    let result = client::send_to(&server.server()?, call, &mut Counted { inner: out, bar: bar.clone() });
    bar.finish_and_clear();
    Ok(result?)
}

/// Lists, one row each.
fn lists(lists: &Value) -> String {
    let row = |list: &Value| {
        let pools: Vec<_> = list["pools"].as_array().into_iter().flatten().map(cell).collect();
        let numbers = grouped(list["numbers"].as_u64().unwrap_or(0));
        vec![cell(&list["list"]), numbers, cell(&list["changed_at"]), pools.join(", ")]
    };
    let rows: Vec<_> = lists.as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return "there is no list yet: allotd list create NAME [FILE]\n".to_owned();
    }
    table(&[words("list"), figures("numbers"), words("last change"), words("pools")], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_shown_with_their_pools() {
        let answer = serde_json::json!([
            {"list": "optouts", "numbers": 1234, "pools": ["de", "ru"], "changed_at": "2026-11-23T22:05:00Z"},
            {"list": "x", "numbers": 0, "pools": [], "changed_at": "2026-11-22T22:05:00Z"},
        ]);
        let text = lists(&answer);
        assert!(text.contains("\noptouts    1,234  2026-11-23T22:05:00Z  de, ru\n"), "{text}");
        assert!(lists(&serde_json::json!([])).contains("list create"));
    }
}
