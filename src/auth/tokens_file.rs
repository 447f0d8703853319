//! The tokens file: who may call, in TOML. It holds hashes only, and every fault in it is named.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::Deserialize;
use thiserror::Error;

use crate::state::time::{EPOCH_UNIX_SECONDS, Timestamp};

use crate::log::mask::without_tokens;

use super::access_token::TokenHash;
use super::principal::{MAX_NAME_BYTES, PrincipalSettings, is_name};
use super::quota::Quota;
use super::role::Role;
use super::scope::Scope;
use super::secret_file::{self, SecretFileError};

/// Most client certificates of one name.
pub const MAX_CERTIFICATES_OF_NAME: usize = 16;
/// What the hash of a certificate's key begins with.
const KEY_PREFIX: &str = "sha256:";
/// Most tokens of one name: the one in use, and the next one while it is exchanged.
pub const MAX_TOKENS_OF_NAME: usize = 2;

/// An entry of the file: a principal, and how it shows that it is the one.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The principal.
    pub principal: PrincipalSettings,
    /// The hashes of its tokens.
    pub hashes: Vec<TokenHash>,
    /// Its client certificates; at least one if there is no hash.
    pub certificates: Vec<CertificateName>,
}

/// What a client certificate is recognized by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// The SHA-256 of its public key.
    Key([u8; 32]),
    /// One of its names, of type DNS or URI.
    Name(Box<str>),
}

/// Why a tokens file is refused as a whole; the message says what to do.
#[derive(Debug, Error)]
pub enum TokensFileError {
    /// It is not read.
    #[error("the tokens file {0}")]
    File(#[from] SecretFileError),
    /// What it says is wrong.
    #[error("the tokens file {} is not understood: {}", path.display(), Faults(faults))]
    Faults {
        /// Its path.
        path: PathBuf,
        /// What is wrong, at least one.
        faults: Vec<Fault>,
    },
}

/// What is wrong with a tokens file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The entry, counted from 1, and its name if it has one.
    entry: Option<(usize, Option<String>)>,
    message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some((index, Some(name))) => write!(f, "token {index} ({name}): {}", self.message),
            Some((index, None)) => write!(f, "token {index}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

struct Faults<'a>(&'a [Fault]);

impl fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            [one] => one.fmt(f),
            [first, others @ ..] => {
                write!(f, "{first} (and {} more: run \"allotd token check\")", others.len())
            }
        }
    }
}

/// An entry as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText {
    name: String,
    role: String,
    pools: Vec<String>,
    #[serde(default)]
    sha256: Vec<String>,
    #[serde(default)]
    certificates: Vec<String>,
    expires: Option<Expires>,
    numbers: Option<bool>,
    may_retire: Option<bool>,
    max_connections: Option<u32>,
    requests_per_second: Option<u32>,
    numbers_per_second: Option<u32>,
    max_count: Option<u32>,
    max_ttl: Option<u32>,
    max_body_bytes: Option<u64>,
    max_keyed_leases: Option<u64>,
    max_live_leases: Option<u64>,
}

/// A time: TOML's own, or a text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Expires {
    Text(String),
    Native(toml::value::Datetime),
}

/// Reads a file. Fails if others can read it, or if anything in it is wrong.
pub fn read(path: &Path) -> Result<Vec<Entry>, TokensFileError> {
    let text = secret_file::read(path)?;
    parse(&text).map_err(|faults| TokensFileError::Faults { path: path.to_owned(), faults })
}

/// Reads the text of a file. Returns all faults.
pub fn parse(text: &str) -> Result<Vec<Entry>, Vec<Fault>> {
    let whole = |message: String| vec![Fault { entry: None, message }];
    let mut table: toml::Table = toml::from_str(text).map_err(|error| {
        let before = &text[..error.span().map_or(0, |span| span.start)];
        let line = before.matches('\n').count() + 1;
        whole(format!("line {line}: {}", without_tokens(error.message())))
    })?;
    let tokens = match table.remove("token") {
        None => Vec::new(),
        Some(toml::Value::Array(tokens)) => tokens,
        Some(_) => return Err(whole("token is not a list: begin each entry with [[token]]".to_owned())),
    };
    let mut faults: Vec<Fault> = table
        .keys()
        .map(|key| {
            let message = format!("there is no key {}: give [[token]] entries only", without_tokens(key));
            Fault { entry: None, message }
        })
        .collect();
    let (mut entries, mut names) = (Vec::new(), HashSet::new());
    let (mut hashes, mut certificates) = (HashSet::new(), HashSet::new());
    for (index, value) in tokens.into_iter().enumerate() {
        let name = value.get("name").and_then(toml::Value::as_str).filter(|name| is_name(name));
        let name = name.map(without_tokens);
        let fault = |message: String| Fault { entry: Some((index + 1, name.clone())), message };
        match entry_of(value) {
            Ok(entry) => {
                if !names.insert(entry.principal.name.clone()) {
                    faults.push(fault(
                        "another entry has this name: put both hashes into its sha256, or choose another"
                            .to_owned(),
                    ));
                }
                if !entry.certificates.iter().all(|name| certificates.insert(name.clone())) {
                    faults.push(fault("a certificate is in the file twice: remove one".to_owned()));
                }
                if !entry.hashes.iter().all(|hash| hashes.insert(*hash)) {
                    faults.push(fault("a hash is in the file twice: make another token".to_owned()));
                }
                entries.push(entry);
            }
            Err(message) => faults.push(fault(message)),
        }
    }
    if faults.is_empty() { Ok(entries) } else { Err(faults) }
}

fn entry_of(value: toml::Value) -> Result<Entry, String> {
    let text: EntryText =
        value.try_into().map_err(|error: toml::de::Error| without_tokens(error.message()))?;
    if !is_name(&text.name) {
        return Err(format!(
            "name takes 1 to {MAX_NAME_BYTES} letters, digits, and . _ @ : + -, and is not \"other\""
        ));
    }
    let role: Role = text.role.parse().map_err(|error| without_tokens(&format!("{error}")))?;
    let scope = Scope::of(&text.pools).map_err(|error| without_tokens(&error.to_string()))?;
    let least = usize::from(text.certificates.is_empty());
    if !(least..=MAX_TOKENS_OF_NAME).contains(&text.sha256.len()) {
        return Err(format!("sha256 has {} hashes: give 1 to {MAX_TOKENS_OF_NAME}", text.sha256.len()));
    }
    let certificates = certificates_of(&text.certificates)?;
    let hashes = text.sha256.iter().map(|hash| hash.parse()).collect::<Result<Vec<TokenHash>, _>>();
    let hashes = hashes.map_err(|error| error.to_string())?;
    let quota = quota_of(&text)?;
    let expires = text.expires.map(time_of).transpose()?;
    let principal = PrincipalSettings {
        name: text.name.into(),
        role,
        scope,
        shows_numbers: text.numbers.unwrap_or(false),
        may_retire: text.may_retire,
        quota,
        expires,
    };
    if text.numbers.is_some() && role != Role::Viewer {
        return Err(format!("numbers is for the role viewer, not {role}: leave it out"));
    }
    Ok(Entry { principal, hashes, certificates })
}

fn certificates_of(texts: &[String]) -> Result<Vec<CertificateName>, String> {
    if texts.len() > MAX_CERTIFICATES_OF_NAME {
        return Err(format!("certificates has {}: give at most {MAX_CERTIFICATES_OF_NAME}", texts.len()));
    }
    let name_of = |text: &String| match text.strip_prefix(KEY_PREFIX) {
        Some(hash) => hash.parse().map(|hash: TokenHash| CertificateName::Key(hash.bytes())).ok(),
        None => (!text.is_empty()).then(|| CertificateName::Name(text.as_str().into())),
    };
    let names = texts.iter().map(name_of).collect::<Option<Vec<_>>>();
    names.ok_or_else(|| {
        format!("certificates takes names of type DNS or URI, and {KEY_PREFIX} with 64 hexadecimal digits of a key")
    })
}

fn quota_of(text: &EntryText) -> Result<Quota, String> {
    let limits = [
        ("max_connections", text.max_connections.map(u64::from)),
        ("requests_per_second", text.requests_per_second.map(u64::from)),
        ("numbers_per_second", text.numbers_per_second.map(u64::from)),
        ("max_count", text.max_count.map(u64::from)),
        ("max_ttl", text.max_ttl.map(u64::from)),
    ];
    if let Some((name, _)) = limits.iter().find(|(_, limit)| *limit == Some(0)) {
        return Err(format!("{name} is 0: give 1 or more, or leave it out for no limit"));
    }
    if text.max_live_leases.is_some() && text.max_ttl.is_none() {
        return Err("max_live_leases needs max_ttl: live leases are counted by their ends".to_owned());
    }
    Ok(Quota {
        connections: text.max_connections,
        requests_per_second: text.requests_per_second,
        numbers_per_second: text.numbers_per_second,
        count: text.max_count,
        ttl_seconds: text.max_ttl,
        body_bytes: text.max_body_bytes,
        keyed_leases: text.max_keyed_leases,
        live_leases: text.max_live_leases,
    })
}

fn time_of(expires: Expires) -> Result<Timestamp, String> {
    let text = match expires {
        Expires::Text(text) => text,
        Expires::Native(time) => time.to_string(),
    };
    let unknown =
        || "expires takes a time in UTC such as \"2030-01-31T00:00:00Z\", from 2020 to 2088".to_owned();
    let time = humantime::parse_rfc3339(&text).map_err(|_| unknown())?;
    let unix_seconds = time.duration_since(UNIX_EPOCH).map_err(|_| unknown())?.as_secs();
    unix_seconds.checked_sub(EPOCH_UNIX_SECONDS).and_then(Timestamp::checked).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn entry(more: &str) -> String {
        format!(
            "[[token]]\nname = \"shop\"\nrole = \"client\"\npools = [\"ru*\"]\nsha256 = [\"{HASH}\"]\n{more}\n"
        )
    }

    #[test]
    fn an_entry_has_what_it_says() {
        let entries = parse(&entry(
            "expires = \"2030-01-31T00:00:00Z\"\nmay_retire = true\nmax_count = 10\nmax_ttl = 60\n\
             max_live_leases = 0\nmax_body_bytes = 0",
        ))
        .unwrap();
        let [Entry { principal, hashes, .. }] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((&*principal.name, principal.role, hashes.len()), ("shop", Role::Client, 1));
        assert_eq!(principal.expires.unwrap().to_string(), "2030-01-31T00:00:00Z");
        let quota = &principal.quota;
        assert_eq!((quota.count, quota.ttl_seconds, quota.live_leases), (Some(10), Some(60), Some(0)));
        let native = parse(&entry("expires = 2030-01-31T00:00:00Z")).unwrap();
        assert_eq!(native[0].principal.expires, principal.expires);
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn each_fault_names_its_entry_and_what_to_do() {
        let secret = crate::auth::access_token::AccessToken::random().unwrap();
        let secret = secret.reveal();
        for (text, expected) in [
            ("x = 1".to_owned(), "there is no key x"),
            ("token = 1".to_owned(), "begin each entry with [[token]]"),
            ("[[token]\n".to_owned(), "line 1"),
            (format!("\n\n{secret}"), "line 3"),
            (entry("color = 1"), "token 1 (shop): unknown field `color`"),
            (entry("max_count = -1"), "token 1 (shop): invalid value"),
            (entry("max_count = 0"), "max_count is 0"),
            (entry("max_live_leases = 5"), "max_live_leases needs max_ttl"),
            (entry("expires = \"soon\""), "expires takes a time in UTC"),
            (entry("expires = \"1999-01-01T00:00:00Z\""), "from 2020"),
            (entry("numbers = true"), "numbers is for the role viewer"),
            (entry("").replace("client", "root"), "there is no role \"root\""),
            (entry("").replace("ru*", "*ru"), "\"*ru\" names no pools"),
            (entry("").replace("[\"ru*\"]", "[]"), "0 patterns"),
            (entry("").replace("shop", "a shop"), "token 1: name takes"),
            (entry("").replace(HASH, secret), "64 hexadecimal digits"),
            (entry("").replace(&format!("[\"{HASH}\"]"), "[]"), "sha256 has 0 hashes"),
            (entry("").replace(&format!("[\"{HASH}\"]"), &format!("\"{secret}\"")), "invalid type"),
            (entry("certificates = [\"sha256:00\"]"), "64 hexadecimal digits of a key"),
            (entry("certificates = [\"a.example\", \"a.example\"]"), "a certificate is in the file twice"),
            (entry(&entry("")), "token 2 (shop): another entry has this name"),
            (entry(&entry("").replace("shop", "second")), "token 2 (second): a hash is in the file twice"),
        ] {
            let faults = parse(&text).unwrap_err();
            let messages: Vec<_> = faults.iter().map(Fault::to_string).collect();
            assert!(messages.iter().any(|message| message.contains(expected)), "{text}: {messages:?}");
            assert!(!messages.concat().contains(&secret[..12]), "{messages:?}");
        }
    }
}
