//! Reads the files of TLS, checks them, and makes one configuration of them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

use super::error::TlsError;

const CERTIFICATE: &str = "--tls-certificate";
const KEY: &str = "--tls-key";
const CLIENT_CA: &str = "--tls-client-ca";
const CLIENT_CRL: &str = "--tls-client-crl";
/// Permissions of those who are neither the file's owner nor of its group.
const OTHERS: u32 = 0o007;

/// Where certificates and keys are, and what is asked of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate and those that lead to its authority, in PEM.
    pub certificate: PathBuf,
    /// The certificate's key, in PEM.
    pub key: PathBuf,
    /// The authorities of clients' certificates, in PEM; `None` to ask for none.
    pub client_ca: Option<PathBuf>,
    /// Clients' certificates that are revoked, in PEM: a list of each authority.
    pub client_crl: Option<PathBuf>,
    /// Whether a client without a certificate is refused.
    pub client_required: bool,
    /// Whether TLS 1.2 is spoken besides 1.3.
    pub allows_1_2: bool,
}

/// What the files say, checked.
#[derive(Debug, Clone)]
pub struct LoadedTls {
    pub(super) config: Arc<ServerConfig>,
    /// What says which clients' certificates are accepted.
    pub(super) clients: Arc<dyn ClientCertVerifier>,
    /// When the server's certificate ends.
    pub expires: SystemTime,
}

impl TlsFiles {
    /// Reads and checks all files.
    pub fn load(&self) -> Result<LoadedTls, TlsError> {
        let setup = |error: rustls::Error| TlsError::Setup(error.to_string());
        let chain = self.chain()?;
        let expires = self.check_time(&chain[0])?;
        let key = self.private_key()?;
        let provider = Arc::new(ring::default_provider());
        let versions = if self.allows_1_2 { &[&TLS13, &TLS12][..] } else { &[&TLS13] };
        let clients = self.client_verifier(&provider)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(setup)?
            .with_client_cert_verifier(Arc::clone(&clients));
        let mut config = builder.with_single_cert(chain, key).map_err(|error| self.refused(&error))?;
        // h2 first: the client chooses, this is the order if it does not mind.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A session is kept by its client, in a ticket. The key of the tickets is new with each configuration:
        // a session does not outlive the certificates that it was made with.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new().map_err(setup)?;
        // A request that is repeated by a third party would lease again.
        config.max_early_data_size = 0;
        Ok(LoadedTls { config: Arc::new(config), clients, expires })
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        read_all(CERTIFICATE, &self.certificate, "certificate")
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let path = &self.key;
        let unreadable = |error| TlsError::Unreadable { flag: KEY, path: path.clone(), error };
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(TlsError::KeyOpenToOthers { path: path.clone(), mode });
        }
        let text = fs::read(path).map_err(unreadable)?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
            pem::Error::NoItemsFound => {
                TlsError::Empty { flag: KEY, path: path.clone(), what: "private key" }
            }
            error => TlsError::Malformed { flag: KEY, path: path.clone(), message: error.to_string() },
        })
    }

    fn client_verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let Some(path) = &self.client_ca else { return Ok(WebPkiClientVerifier::no_client_auth()) };
        let malformed =
            |message: String| TlsError::Malformed { flag: CLIENT_CA, path: path.clone(), message };
        let mut roots = RootCertStore::empty();
        for certificate in read_all::<CertificateDer<'static>>(CLIENT_CA, path, "certificate")? {
            roots.add(certificate).map_err(|error| malformed(error.to_string()))?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        if let Some(path) = &self.client_crl {
            let lists: Vec<CertificateRevocationListDer<'static>> =
                read_all(CLIENT_CRL, path, "list of revoked certificates (X509 CRL)")?;
            builder = builder.with_crls(lists);
        }
        if !self.client_required {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map_err(|error| match &self.client_crl {
            Some(path) => {
                TlsError::Malformed { flag: CLIENT_CRL, path: path.clone(), message: error.to_string() }
            }
            None => malformed(error.to_string()),
        })
    }

    /// What rustls says of certificate and key.
    fn refused(&self, error: &rustls::Error) -> TlsError {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            return TlsError::OtherKey { key: self.key.clone(), certificate: self.certificate.clone() };
        }
        let (flag, path) = match error {
            rustls::Error::InvalidCertificate(_) => (CERTIFICATE, &self.certificate),
            _ => (KEY, &self.key),
        };
        TlsError::Malformed { flag, path: path.clone(), message: error.to_string() }
    }

    /// Checks that the certificate is valid now; returns when it ends.
    fn check_time(&self, certificate: &CertificateDer<'_>) -> Result<SystemTime, TlsError> {
        let path = || self.certificate.clone();
        match time_error(certificate, UnixTime::now()) {
            Some(webpki::Error::CertExpired { not_after, .. }) => {
                return Err(TlsError::Expired { path: path(), at: shown(system_time(not_after)) });
            }
            Some(webpki::Error::CertNotValidYet { not_before, .. }) => {
                return Err(TlsError::NotYetValid { path: path(), at: shown(system_time(not_before)) });
            }
            _ => {}
        }
        Ok(system_time(end_of(certificate)))
    }
}

/// When a certificate ends.
pub(super) fn end_of(certificate: &CertificateDer<'_>) -> UnixTime {
    match time_error(certificate, FAR_AHEAD) {
        Some(webpki::Error::CertExpired { not_after, .. }) => not_after,
        // It never ends, as far as anybody can say.
        _ => FAR_AHEAD,
    }
}

/// A time after the end of every certificate: the year 9999.
const FAR_AHEAD: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(253_402_300_799));

/// What is wrong with a certificate by itself at this time. Whether somebody vouches for it is its clients'
/// question: it is held against itself, and what is said of its issuer means nothing. rustls refuses what is
/// malformed.
fn time_error(certificate: &CertificateDer<'_>, at: UnixTime) -> Option<webpki::Error> {
    let verified = webpki::EndEntityCert::try_from(certificate).and_then(|parsed| {
        let anchor = webpki::anchor_from_trusted_cert(certificate)?;
        let usage = webpki::KeyUsage::server_auth();
        parsed.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &[anchor], &[], at, usage, None, None)?;
        Ok(())
    });
    verified.err()
}

fn system_time(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

/// A time as people read it.
pub fn shown(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// All items of one kind in a PEM file, at least one.
fn read_all<T: PemObject>(flag: &'static str, path: &Path, what: &'static str) -> Result<Vec<T>, TlsError> {
    let path = path.to_owned();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) => return Err(TlsError::Unreadable { flag, path, error }),
    };
    match T::pem_slice_iter(&text).collect::<Result<Vec<T>, _>>() {
        Ok(items) if items.is_empty() => Err(TlsError::Empty { flag, path, what }),
        Ok(items) => Ok(items),
        Err(pem::Error::Io(error)) => {
            Err(TlsError::Unreadable { flag, path, error: io::Error::other(error) })
        }
        Err(error) => Err(TlsError::Malformed { flag, path, message: error.to_string() }),
    }
}
