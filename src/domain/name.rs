//! The rule for names of pools and backups, which are names of directories too.

/// Whether a name is 1 to `max_bytes` of `[A-Za-z0-9._-]` and begins with a letter or digit.
pub(crate) fn is_valid(name: &str, max_bytes: usize) -> bool {
    let starts_well = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    let all_known = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    starts_well && all_known && name.len() <= max_bytes
}
