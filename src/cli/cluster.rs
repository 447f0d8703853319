//! `allotd cluster`: the members of a cluster.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use crate::client::Call;
use crate::http::cluster::ClusterStatus;

use super::error::CliError;
use super::output;
use super::remote::Remote;

#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Show who is primary, and how far each member is
    Status(StatusArgs),
    /// Make another member the primary
    Handover(MemberArgs),
    /// Keep the log no longer for a member that does not come back
    Forget(ForgetArgs),
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct MemberArgs {
    /// The member [default: the standby that is furthest]
    #[arg(value_name = "MEMBER")]
    member: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct ForgetArgs {
    /// The member
    #[arg(value_name = "MEMBER")]
    member: String,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(command: &ClusterCommand) -> Result<(), CliError> {
    match command {
        ClusterCommand::Status(args) => args.remote.call(Call::new(Method::GET, "/v1/cluster"), status),
        ClusterCommand::Handover(MemberArgs { member, remote }) => {
            let body = member.as_ref().map_or_else(|| json!({}), |member| json!({ "member": member }));
            remote.call(Call::json(Method::POST, "/v1/cluster/handover", &body), |answer| {
                format!("{} becomes the primary\n", text(&answer["member"]))
            })
        }
        ClusterCommand::Forget(ForgetArgs { member, remote }) => {
            let body = json!({ "member": member });
            remote.call(Call::json(Method::POST, "/v1/cluster/forget", &body), |answer| {
                format!("the log is kept no longer for {}\n", text(&answer["member"]))
            })
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The status as a table.
fn status(answer: &Value) -> String {
    let Ok(status) = serde_json::from_value::<ClusterStatus>(answer.clone()) else {
        return output::members(answer);
    };
    let primary = status.primary.as_ref();
    let head = match primary {
        Some(primary) => {
            format!("cluster {}: the primary is {}, at {}\n", status.cluster, primary.member, primary.url)
        }
        None => format!("cluster {}: there is no primary at present\n", status.cluster),
    };
    let columns = [
        output::words("member"),
        output::words("role"),
        output::figures("position"),
        output::figures("behind"),
        output::words("version"),
        output::words("url"),
    ];
    let rows: Vec<_> = status
        .members
        .iter()
        .map(|line| {
            let is_primary = primary.is_some_and(|primary| primary.member == line.member);
            vec![
                line.member.clone(),
                if is_primary { "primary" } else { "standby" }.to_owned(),
                line.position.to_string(),
                line.lag.to_string(),
                line.version.clone(),
                line.url.clone(),
            ]
        })
        .collect();
    head + &output::table(&columns, &rows)
}
