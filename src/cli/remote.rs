//! Which daemon a command talks to, and how it shows the answer.

use std::path::PathBuf;

use clap::Args;

use crate::auth::secret_file;
use crate::client::tls::ClientFiles;
use crate::client::{self, Call, ClientError, Server};

use super::error::CliError;
use super::output;

/// Which daemon to talk to.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// The daemon to talk to: http://HOST:PORT, https://HOST:PORT or unix:PATH; of a cluster several members, separated by
    /// commas: the one that is primary is found
    #[arg(long, env = "ALLOTD_SERVER", hide_env_values = true, default_value = "http://127.0.0.1:7979", value_name = "URL", value_delimiter = ',', help_heading = DAEMON_HEADING)]
    server: Vec<String>,
    /// Authorities of the daemon's certificate, in PEM [default: those of the system]
    #[arg(long, env = "ALLOTD_CA", hide_env_values = true, value_name = "FILE", help_heading = DAEMON_HEADING)]
    ca: Option<PathBuf>,
    /// Certificate to show to the daemon, in PEM
    #[arg(long, env = "ALLOTD_CLIENT_CERTIFICATE", hide_env_values = true, value_name = "FILE", help_heading = DAEMON_HEADING)]
    client_certificate: Option<PathBuf>,
    /// Key of that certificate, in PEM
    #[arg(long, env = "ALLOTD_CLIENT_KEY", hide_env_values = true, value_name = "FILE", help_heading = DAEMON_HEADING)]
    client_key: Option<PathBuf>,
    /// File with the token to show to the daemon; others must not be able to read it
    #[arg(long, env = "ALLOTD_TOKEN_FILE", hide_env_values = true, value_name = "FILE", help_heading = DAEMON_HEADING)]
    token_file: Option<PathBuf>,
}

impl ServerArgs {
    pub(crate) fn server(&self) -> Result<Server, CliError> {
        let (ca, certificate) = (self.ca.clone(), self.client_certificate.clone());
        let files = ClientFiles { ca, certificate, key: self.client_key.clone() };
        let servers =
            self.server.iter().map(|url| Server::new(url, &files)).collect::<Result<Vec<_>, _>>()?;
        let server = client::primary(servers)?;
        match &self.token_file {
            None => Ok(server),
            Some(path) => {
                let token = secret_file::read_token(path)
                    .map_err(|error| CliError::Failed(format!("the token file {error}")))?;
                Ok(server.with_token(token.reveal())?)
            }
        }
    }
}

/// Which daemon to talk to, and how to show its answers.
#[derive(Debug, Clone, Args)]
pub(crate) struct Remote {
    #[command(flatten)]
    server: ServerArgs,
    /// Print the daemon's response unchanged, in JSON
    #[arg(long, env = "ALLOTD_JSON", hide_env_values = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, default_value = "false", value_name = "BOOL", hide_default_value = true, hide_possible_values = true, help_heading = DAEMON_HEADING)]
    pub(crate) json: bool,
}

/// The heading of the flags that nearly all commands have.
const DAEMON_HEADING: &str = "Daemon and output";

impl Remote {
    pub(crate) fn server(&self) -> Result<Server, CliError> {
        self.server.server()
    }

    /// Makes a call and prints its answer: unchanged with `--json`, else by `show`.
    pub(crate) fn call(
        &self,
        call: Call<'_>,
        show: impl FnOnce(&serde_json::Value) -> String,
    ) -> Result<(), CliError> {
        let answer = client::send(&self.server()?, call)?;
        if self.json {
            return output::print(&format!("{answer}\n"));
        }
        let value = serde_json::from_str(&answer).map_err(|error| ClientError::Answer(error.to_string()))?;
        output::print(&show(&value))
    }
}
