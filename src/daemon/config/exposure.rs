//! What protects the addresses that other machines can reach, and the settings of TLS.

use crate::http::listen::ListenerConfig;
use crate::http::server::tls::files::TlsFiles;

use super::args::ServeArgs;
use super::error::ConfigError;

/// The settings of TLS, if there is a certificate.
pub(super) fn tls_files(given: &ServeArgs) -> Result<Option<TlsFiles>, ConfigError> {
    let client_required = given.tls_client_required.unwrap_or(false);
    let allows_1_2 = given.tls_1_2.unwrap_or(false);
    let alone = |flag: &'static str, needs: &'static str| Err(ConfigError::NeedsFlag { flag, needs });
    let (certificate, key) = match (&given.tls_certificate, &given.tls_key) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        (Some(_), None) => return alone("--tls-certificate", "--tls-key"),
        (None, Some(_)) => return alone("--tls-key", "--tls-certificate"),
        (None, None) if given.tls_client_ca.is_some() => {
            return alone("--tls-client-ca", "--tls-certificate");
        }
        (None, None) if allows_1_2 => return alone("--tls-1-2", "--tls-certificate"),
        (None, None) if client_required => return alone("--tls-client-required", "--tls-client-ca"),
        (None, None) if given.tls_client_crl.is_some() => {
            return alone("--tls-client-crl", "--tls-client-ca");
        }
        (None, None) => return Ok(None),
    };
    if given.tls_client_ca.is_none() {
        if client_required {
            return alone("--tls-client-required", "--tls-client-ca");
        }
        if given.tls_client_crl.is_some() {
            return alone("--tls-client-crl", "--tls-client-ca");
        }
    }
    let (client_ca, client_crl) = (given.tls_client_ca.clone(), given.tls_client_crl.clone());
    Ok(Some(TlsFiles { certificate, key, client_ca, client_crl, client_required, allows_1_2 }))
}

/// What was given up, and what keeps strangers out.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "four answers that are independent of each other")]
pub(super) struct Protection {
    pub(super) has_tokens: bool,
    pub(super) requires_certificates: bool,
    pub(super) allows_plain_text: bool,
    pub(super) allows_anyone: bool,
}

impl Protection {
    /// Refuses a listener that other machines can reach and that has neither protection nor leave to be
    /// without.
    pub(super) fn check(self, listener: &ListenerConfig) -> Result<(), ConfigError> {
        if listener.address.is_local() {
            return Ok(());
        }
        if !listener.tls && !self.allows_plain_text {
            return Err(ConfigError::PlainText(listener.address.clone()));
        }
        let knows_callers = self.has_tokens || (listener.tls && self.requires_certificates);
        if !knows_callers && !self.allows_anyone {
            return Err(ConfigError::Anyone(listener.address.clone()));
        }
        Ok(())
    }
}

/// Certificate and listeners belong together.
pub(super) fn check_tls(listen: &[ListenerConfig], tls: Option<&TlsFiles>) -> Result<(), ConfigError> {
    match (listen.iter().find(|listener| listener.tls), tls) {
        (Some(listener), None) => Err(ConfigError::NoCertificate(listener.address.clone())),
        (None, Some(_)) => Err(ConfigError::TlsUnused),
        _ => Ok(()),
    }
}
