//! A client's certificate on an open connection: whether it is accepted still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustls::pki_types::{CertificateDer, UnixTime};

use crate::auth::identity::Identity;

use super::ServerTls;
use super::files::end_of;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// How long a certificate is believed before its end is looked at again.
const RECHECK_NANOS: u64 = NANOS_PER_SECOND;

/// What a client presented, which an authority of `--tls-client-ca` has vouched for.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    /// Who it is.
    pub(crate) identity: Identity,
    /// Its own certificate, and those that lead to its authority.
    chain: Box<[CertificateDer<'static>]>,
    /// The first end of these.
    ends: UnixTime,
    tls: Arc<ServerTls>,
    /// The exchange of the server's files that it was last held against.
    version: AtomicU64,
    believed_until_nanos: AtomicU64,
    is_refused: AtomicBool,
}

impl ClientCertificate {
    /// That of a connection which `tls` accepted at this version. `None` if there is none.
    pub(crate) fn of(
        chain: Option<&[CertificateDer<'_>]>,
        tls: &Arc<ServerTls>,
        version: u64,
    ) -> Option<Self> {
        let identity = Identity::of(chain)?;
        let chain: Box<[_]> = chain?.iter().map(|link| link.clone().into_owned()).collect();
        let ends = chain.iter().map(end_of).min()?;
        Some(Self {
            identity,
            chain,
            ends,
            tls: Arc::clone(tls),
            version: AtomicU64::new(version),
            // A session that is resumed shows a certificate that may have ended since.
            believed_until_nanos: AtomicU64::new(0),
            is_refused: AtomicBool::new(false),
        })
    }

    /// Whether it has not ended, and is accepted by the authorities and the lists of revoked certificates in
    /// force.
    #[inline]
    pub(crate) fn is_accepted(&self, now_nanos: u64) -> bool {
        let is_known = self.is_of_current() && now_nanos < self.believed_until_nanos.load(Ordering::Relaxed);
        if is_known { !self.is_refused() } else { self.check(now_nanos) }
    }

    /// Whether it was held against the files in force.
    pub(crate) fn is_of_current(&self) -> bool {
        self.version.load(Ordering::Relaxed) == self.tls.version()
    }

    /// Whether it was found not to be accepted: this does not change any more.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }

    #[cold]
    fn check(&self, now_nanos: u64) -> bool {
        let (version, now) = (self.tls.version(), UnixTime::now());
        // A signature is checked once for each exchange, the time each second.
        let is_accepted = !self.is_refused()
            && now <= self.ends
            && (self.version.load(Ordering::Relaxed) == version || self.is_verified(now));
        self.is_refused.store(!is_accepted, Ordering::Relaxed);
        self.believed_until_nanos.store(now_nanos.saturating_add(RECHECK_NANOS), Ordering::Relaxed);
        self.version.store(version, Ordering::Relaxed);
        is_accepted
    }

    fn is_verified(&self, now: UnixTime) -> bool {
        let loaded = self.tls.current.load();
        let Some((own, others)) = self.chain.split_first() else { return false };
        // A verifier that asks for no certificate knows none.
        loaded.clients.offer_client_auth() && loaded.clients.verify_client_cert(own, others, now).is_ok()
    }
}
