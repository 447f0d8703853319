//! `allotd return`

use clap::Args;
use serde_json::json;

use crate::domain::settings::NextState;

use super::error::CliError;
use super::remote::Remote;
use super::renew;

#[derive(Debug, Args)]
pub(crate) struct ReturnArgs {
    /// Name of the pool
    pool: String,
    /// The leases, as "allotd lease" shows them
    #[arg(required = true, value_name = "NUMBER:TOKEN")]
    leases: Vec<String>,
    /// How it went; the pool's rules decide what happens to the numbers
    #[arg(long, value_name = "NAME")]
    outcome: Option<String>,
    /// What happens to the numbers: available, rest:SECONDS, done or retired
    #[arg(long, value_name = "THEN")]
    then: Option<NextState>,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) fn run(args: ReturnArgs) -> Result<(), CliError> {
    let mut body = json!({"leases": renew::held(&args.leases)?});
    if let Some(outcome) = args.outcome {
        body["outcome"] = outcome.into();
    }
    if let Some(then) = args.then {
        body["then"] = json!(then);
    }
    let path = format!("/v1/pools/{}/return", crate::cli::pool::name::checked_name(&args.pool)?);
    renew::call(&args.remote, &path, &body)
}
