//! TLS of the client: whom it trusts, and what it shows of itself.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The files of a client, all in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// The authorities that it trusts; `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// Its own certificate, and those that lead to its authority.
    pub certificate: Option<PathBuf>,
    /// The key of its own certificate.
    pub key: Option<PathBuf>,
}

/// Why TLS cannot be spoken.
#[derive(Debug, Error)]
pub enum ClientTlsError {
    /// A file cannot be used.
    #[error("{}: {message}. Check {flag}", path.display())]
    File {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A certificate without a key, or a key alone.
    #[error("--client-certificate and --client-key belong together: give both or neither")]
    Alone,
    /// The system has no authorities.
    #[error("the system has no certificates of authorities{0}: give the daemon's with --ca FILE")]
    NoAuthorities(String),
    /// rustls refuses the certificate or its key.
    #[error("the client's certificate cannot be used: {0}. Check --client-certificate and --client-key")]
    Certificate(rustls::Error),
}

const CA: &str = "--ca";
const CERTIFICATE: &str = "--client-certificate";
const KEY: &str = "--client-key";

/// TLS to one daemon.
#[derive(Clone)]
pub struct ClientTls(Arc<Settings>);

struct Settings {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ClientTls {}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientTls").field(&self.0.name).finish()
    }
}

impl ClientFiles {
    pub(super) fn tls(&self, host: &str) -> Result<Result<ClientTls, ClientTlsError>, InvalidDnsNameError> {
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())?;
        Ok(self.config().map(|config| ClientTls(Arc::new(Settings { config: Arc::new(config), name }))))
    }

    fn config(&self) -> Result<ClientConfig, ClientTlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(ClientTlsError::Certificate)?
            .with_root_certificates(self.roots()?);
        let mut config = match (&self.certificate, &self.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let chain = read_certificates(CERTIFICATE, certificate)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| refused(KEY, key, &error))?;
                builder.with_client_auth_cert(chain, key).map_err(ClientTlsError::Certificate)?
            }
            _ => return Err(ClientTlsError::Alone),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore, ClientTlsError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.ca {
            for certificate in read_certificates(CA, path)? {
                let refused = |error: rustls::Error| ClientTlsError::File {
                    flag: CA,
                    path: path.clone(),
                    message: error.to_string(),
                };
                roots.add(certificate).map_err(refused)?;
            }
            return Ok(roots);
        }
        let system = rustls_native_certs::load_native_certs();
        // Systems have authorities that are not understood; the others suffice.
        if roots.add_parsable_certificates(system.certs).0 == 0 {
            let why = system.errors.first().map(|error| format!(" ({error})"));
            return Err(ClientTlsError::NoAuthorities(why.unwrap_or_default()));
        }
        Ok(roots)
    }
}

fn read_certificates(
    flag: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, ClientTlsError> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(refused(flag, path, &pem::Error::NoItemsFound)),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(refused(flag, path, &error)),
    }
}

fn refused(flag: &'static str, path: &Path, error: &pem::Error) -> ClientTlsError {
    let message = match error {
        pem::Error::NoItemsFound => "the file has none in PEM".to_owned(),
        pem::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    };
    ClientTlsError::File { flag, path: path.to_owned(), message }
}

impl ClientTls {
    pub(super) async fn connect(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(Arc::clone(&self.0.config)).connect(self.0.name.clone(), stream).await
    }

    /// A connection whose bytes are moved by its caller.
    pub fn unbuffered_by_a_runtime(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(Arc::clone(&self.0.config), self.0.name.clone())
    }
}

/// What a failed handshake means to the caller, if more is known than what rustls says.
pub(super) fn advice(error: &rustls::Error) -> &'static str {
    use rustls::{AlertDescription, CertificateError, Error};
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "give the certificate of the daemon's authority with --ca"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "use a name in the URL that the daemon's certificate has",
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the daemon's certificate has to be renewed"
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "give --client-certificate and --client-key"
        }
        Error::AlertReceived(_) => {
            "the daemon does not accept this client: check --client-certificate and --client-key, and its log"
        }
        Error::InvalidMessage(_) => "does the daemon speak TLS there? Try an http:// URL",
        _ => "check the certificates of both",
    }
}
