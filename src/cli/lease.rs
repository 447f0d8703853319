//! `allotd lease`

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use crate::client::Call;

use super::error::CliError;
use super::output;
use super::remote::Remote;

#[derive(Debug, Args)]
pub(super) struct LeaseArgs {
    /// Name of the pool; of several, the first that has a number
    #[arg(required = true, value_name = "POOL")]
    pools: Vec<String>,
    /// The most numbers to lease [default: 1]
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// How long the lease lasts [default: the pool's ttl]
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u32>,
    /// Choose only within these prefixes (7912) or ranges (79120000000-79129999999), separated by commas
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    within: Vec<String>,
    /// How long to wait if no number is available, at most 60 [default: 0]
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u32>,
    /// Who holds the lease; only in pools that track holders
    #[arg(long, value_name = "NAME")]
    holder: Option<String>,
    /// Makes the call safe to repeat: the same key gets the same leases as long as one of them lives
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Prints `NUMBER:TOKEN`, as renew and return take it, and when the lease ends.
pub(super) fn run(args: LeaseArgs) -> Result<(), CliError> {
    let mut body = json!({});
    if let Some(count) = args.count {
        body["count"] = count.into();
    }
    if let Some(ttl) = args.ttl {
        body["ttl"] = ttl.into();
    }
    if let Some(wait) = args.wait {
        body["wait"] = wait.into();
    }
    if let Some(holder) = args.holder {
        body["holder"] = holder.into();
    }
    if !args.within.is_empty() {
        body["within"] = args.within.into();
    }
    let names = args.pools.iter().map(|name| crate::cli::pool::name::checked_name(name));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let path = match &names[..] {
        [name] => format!("/v1/pools/{name}/lease"),
        names => {
            body["pools"] = names.iter().map(ToString::to_string).collect();
            "/v1/lease".to_owned()
        }
    };
    let header = args.idempotency_key.as_deref().map(|key| ("idempotency-key", key));
    args.remote.call(Call { header, ..Call::json(Method::POST, &path, &body) }, |answer| {
        let line = |lease: &Value| {
            let cell = |name: &str| output::cell(&lease[name]);
            let pool = lease["pool"].as_str().map(|pool| format!("\t{pool}")).unwrap_or_default();
            format!("{}:{}\t{}{pool}\n", cell("number"), cell("token"), cell("expires_at"))
        };
        answer["leases"].as_array().into_iter().flatten().map(line).collect()
    })
}
