//! `allotd pool number`

use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::cli::error::CliError;
use crate::cli::output::{self, Shown, cell};
use crate::cli::remote::Remote;
use crate::client::Call;

use super::name::pool_path;

#[derive(Debug, Args)]
pub(in crate::cli) struct NumberArgs {
    /// Name of the pool
    name: String,
    /// The number, in international form without signs
    number: u64,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(args: &NumberArgs) -> Result<(), CliError> {
    let path = pool_path(&args.name, &format!("/numbers/{}", args.number))?;
    args.remote.call(Call::new(Method::GET, &path), text)
}

fn text(answer: &Value) -> String {
    let shown = ["number", "state", "holder", "leasable", "blocked_by", "until", "generation", "attempts"]
        .into_iter();
    let shown = shown.filter(|name| !answer[*name].is_null());
    let shown = shown.map(|name| (name.to_owned(), Shown::Words(cell(&answer[name]))));
    output::pairs(&shown.collect::<Vec<_>>())
}
