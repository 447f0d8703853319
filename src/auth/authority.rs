//! The tokens in force.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::state::time::Timestamp;

use super::access_token::TokenHash;
use super::identity::Identity;
use super::principal::Principal;
use super::registry::Registry;
use super::tokens_file::{self, CertificateName, Entry, TokensFileError};

/// The table of a tokens file, which is exchanged as a whole or not at all.
#[derive(Debug)]
pub struct Authority {
    registry: Arc<Registry>,
    table: ArcSwap<TokenTable>,
    /// Counts the tables. What was found in one holds while the count stays.
    version: AtomicU64,
}

/// The tokens of a file.
#[derive(Debug, Default)]
pub struct TokenTable {
    by_hash: HashMap<TokenHash, Arc<Principal>>,
    by_certificate: HashMap<CertificateName, Arc<Principal>>,
    principals: usize,
    /// Those whose tokens end, by name.
    ends: Vec<(Arc<str>, Timestamp)>,
}

impl Authority {
    /// Reads a tokens file.
    pub fn open(path: &Path, registry: Arc<Registry>) -> Result<Self, TokensFileError> {
        let table = TokenTable::of(tokens_file::read(path)?, &registry);
        Ok(Self { registry, table: ArcSwap::from_pointee(table), version: AtomicU64::new(1) })
    }

    /// Reads a tokens file that is to take the place of the one in force.
    pub fn read(&self, path: &Path) -> Result<TokenTable, TokensFileError> {
        Ok(TokenTable::of(tokens_file::read(path)?, &self.registry))
    }

    /// Exchanges the table.
    pub fn exchange(&self, table: TokenTable) {
        self.table.store(Arc::new(table));
        // After the table: who sees the new count sees the new table.
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Changes when the table does.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Who holds a token. To be kept with a version that was read before.
    pub fn find(&self, token: &TokenHash) -> Option<Arc<Principal>> {
        self.table.load().by_hash.get(token).cloned()
    }

    /// Who has a client certificate: by its key, or by the first of its names that the file has.
    pub fn find_certificate(&self, certificate: &Identity) -> Option<Arc<Principal>> {
        let table = self.table.load();
        let key = CertificateName::Key(certificate.key_sha256);
        let names = certificate.names.iter().map(|name| CertificateName::Name(name.clone()));
        std::iter::once(key).chain(names).find_map(|name| table.by_certificate.get(&name).cloned())
    }

    /// The principals whose tokens end, and when, by name. A token that has ended stays until it is removed.
    pub fn ends(&self) -> Vec<(Arc<str>, Timestamp)> {
        self.table.load().ends.clone()
    }

    /// How many principals have tokens.
    pub fn principals(&self) -> usize {
        self.table.load().principals
    }
}

impl TokenTable {
    fn of(entries: Vec<Entry>, registry: &Registry) -> Self {
        let mut table = Self { principals: entries.len(), ..Self::default() };
        for Entry { principal, hashes, certificates } in entries {
            table.ends.extend(principal.expires.map(|end| (Arc::clone(&principal.name), end)));
            let principal = registry.principal(principal);
            table.by_certificate.extend(certificates.into_iter().map(|name| (name, Arc::clone(&principal))));
            table.by_hash.extend(hashes.into_iter().map(|hash| (hash, Arc::clone(&principal))));
        }
        table.ends.sort_unstable();
        table
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::auth::access_token::AccessToken;

    fn write(path: &Path, name: &str, token: &AccessToken) {
        let hash = token.hash();
        let text = format!(
            "[[token]]\nname = \"{name}\"\nrole = \"client\"\npools = [\"*\"]\nsha256 = [\"{hash}\"]\n"
        );
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn the_table_is_exchanged_as_a_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.toml");
        let (one, other) = (AccessToken::random().unwrap(), AccessToken::random().unwrap());
        write(&path, "shop", &one);
        let authority = Authority::open(&path, Arc::default()).unwrap();
        let found = |token: &AccessToken| authority.find(&token.hash()).map(|found| found.name().to_owned());
        assert_eq!((found(&one).as_deref(), found(&other)), (Some("shop"), None));
        let version = authority.version();
        fs::write(&path, "[[token]]\nname = 1\n").unwrap();
        assert!(authority.read(&path).is_err());
        assert_eq!((found(&one).as_deref(), authority.version()), (Some("shop"), version));
        write(&path, "second", &other);
        authority.exchange(authority.read(&path).unwrap());
        assert_eq!((found(&one), found(&other).as_deref()), (None, Some("second")));
        assert_ne!(authority.version(), version);
    }
}
