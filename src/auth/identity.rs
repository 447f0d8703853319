//! Who a client is by its certificate: the hash of its key, and the names that its authority gave it.

use rustls::pki_types::CertificateDer;

use super::access_token::sha256;

/// What a client's certificate, which an authority has vouched for, says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// SHA-256 of the public key (`SubjectPublicKeyInfo`): it stays the same when a certificate is renewed.
    pub key_sha256: [u8; 32],
    /// Its names of type DNS, then of type URI.
    pub names: Box<[Box<str>]>,
}

impl Identity {
    /// That of the first of the certificates that a client presented. `None` if it is not understood.
    pub fn of(certificates: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let parsed = webpki::EndEntityCert::try_from(certificates?.first()?).ok()?;
        let key_sha256 = sha256(&parsed.subject_public_key_info());
        let names = parsed.valid_dns_names().chain(parsed.valid_uri_names()).map(Into::into).collect();
        Some(Self { key_sha256, names })
    }
}
