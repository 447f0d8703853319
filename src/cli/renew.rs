//! `allotd renew`, and the form in which leases are written on a command line.

use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Call, ClientError};
use crate::domain::lease_token::Token;

use super::error::CliError;
use super::output;
use super::remote::Remote;

#[derive(Debug, Args)]
pub(super) struct RenewArgs {
    /// Name of the pool
    pool: String,
    /// The leases, as "allotd lease" shows them
    #[arg(required = true, value_name = "NUMBER:TOKEN")]
    leases: Vec<String>,
    /// How long the leases last from now [default: the pool's ttl]
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u32>,
    #[command(flatten)]
    remote: Remote,
}

/// Reads `NUMBER:TOKEN`.
pub(super) fn held(leases: &[String]) -> Result<Value, CliError> {
    let one = |text: &String| {
        let refused = |why: &str| {
            CliError::Usage(format!(
                "\"{text}\" is not a lease{why}: give NUMBER:TOKEN, the first column of what \"allotd lease\" prints"
            ))
        };
        let (number, token) = text.split_once(':').ok_or_else(|| refused(""))?;
        let number: u64 = number.parse().map_err(|_| refused(""))?;
        // A token that cannot be one would only be told to be stale.
        token.parse::<Token>().map_err(|error| refused(&format!(" ({error})")))?;
        Ok(json!({"number": number, "token": token}))
    };
    leases.iter().map(one).collect::<Result<Vec<_>, _>>().map(Value::from)
}

/// One line per item: its result.
pub(super) fn results(answer: &Value) -> String {
    let line = |item: &Value| {
        let time = ["expires_at", "available_at"].into_iter().find_map(|name| item[name].as_str());
        let words = [item["result"].as_str(), item["state"].as_str(), time];
        let words: Vec<_> = words.into_iter().flatten().collect();
        format!("{}\t{}\n", output::cell(&item["number"]), words.join("\t"))
    };
    answer["results"].as_array().into_iter().flatten().map(line).collect()
}

pub(super) fn run(args: &RenewArgs) -> Result<(), CliError> {
    let mut body = json!({"leases": held(&args.leases)?});
    if let Some(ttl) = args.ttl {
        body["ttl"] = ttl.into();
    }
    let path = format!("/v1/pools/{}/renew", crate::cli::pool::name::checked_name(&args.pool)?);
    call(&args.remote, &path, &body)
}

/// Makes the call and shows the result of each item, also if none succeeded: the refusal alone does not tell a
/// number that the pool does not have from a lease that is over.
pub(super) fn call(remote: &Remote, path: &str, body: &Value) -> Result<(), CliError> {
    let made = remote.call(Call::json(Method::POST, path, body), results);
    if let Err(CliError::Refused(ClientError::Refused { problem, .. })) = &made
        && !remote.json
    {
        output::print(&results(problem))?;
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_leases() {
        let leases = held(&["7912:Yc1q0l6yBvM".to_owned()]).unwrap();
        assert_eq!(leases, json!([{"number": 7912, "token": "Yc1q0l6yBvM"}]));
        let line = "7912:Yc1q0l6yBvM\t2026-11-23T22:05:00Z";
        for bad in ["7912", "x:y", ":", "-1:Yc1q0l6yBvM", "7912:wrong", line] {
            assert!(held(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
