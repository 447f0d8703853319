//! TOML behind a first line with its checksum, so that a flipped bit is not taken for a setting.

/// The first line: this, eight hexadecimal digits, a quote.
const CHECKSUM_KEY: &str = "crc32c = \"";

/// The text after a line with its checksum.
pub(crate) fn with_checksum(text: &str) -> String {
    format!("{CHECKSUM_KEY}{:08x}\"\n{text}", crc32c::crc32c(text.as_bytes()))
}

/// The text after the line with its checksum, if that is right.
pub(crate) fn without_checksum(text: &str) -> Result<&str, String> {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    let checksum = format!("{:08x}", crc32c::crc32c(rest.as_bytes()));
    let found = line.strip_prefix(CHECKSUM_KEY).and_then(|line| line.strip_suffix('"'));
    match found {
        Some(found) if found == checksum => Ok(rest),
        Some(found) => Err(format!("its checksum is {checksum}, the first line says {found}")),
        None => Err("its first line is not a checksum".to_owned()),
    }
}
