//! Any text as a tokens file, and as a token. What is read means the same when it is read again, and no message
//! about what is not read has a token in it.

#![no_main]

use allotd::auth::access_token::{AccessToken, TokenHash};
use allotd::auth::tokens_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = text.parse::<AccessToken>() {
        assert_eq!(TokenHash::of_token(bytes), Ok(token.hash()));
        assert_eq!(token.reveal(), text);
    }
    let with_token = text.find("alt_").map(|at| &text[at..]);
    let secret: Option<&str> = with_token.map(|token| {
        let is_of_token = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        &token[..token.find(|c| !is_of_token(c)).unwrap_or(token.len())]
    });
    match tokens_file::parse(text) {
        Ok(entries) => {
            for entry in entries {
                assert!(!entry.hashes.is_empty() || !entry.certificates.is_empty());
                assert!(!entry.principal.name.is_empty());
            }
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in faults {
                let message = fault.to_string();
                // A short one may be a word of the message itself.
                let is_shown = secret.is_some_and(|secret| secret.len() > 12 && message.contains(secret));
                assert!(!is_shown, "{message}");
            }
        }
    }
});
