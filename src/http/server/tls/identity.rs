//! Who a client is by its certificate: the hash of its key, and the names that its authority gave it.

use ring::digest;
use rustls::pki_types::CertificateDer;

/// What a client's certificate, which an authority has vouched for, says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// SHA-256 of the public key (`SubjectPublicKeyInfo`): it stays the same when a certificate is renewed.
    pub(crate) key_sha256: [u8; 32],
    /// Its names of type DNS, then of type URI.
    pub(crate) names: Vec<String>,
}

impl Identity {
    /// That of the first of the certificates that a client presented. `None` if it is not understood.
    pub(crate) fn of(certificates: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let parsed = webpki::EndEntityCert::try_from(certificates?.first()?).ok()?;
        let hash = digest::digest(&digest::SHA256, &parsed.subject_public_key_info());
        let names = parsed.valid_dns_names().chain(parsed.valid_uri_names()).map(str::to_owned).collect();
        Some(Self { key_sha256: hash.as_ref().try_into().ok()?, names })
    }
}
