//! Text whose first line is a checksum of the rest, so that a flipped bit is not read as a setting.

/// The start of the first line; eight hexadecimal digits and a quote follow.
const CHECKSUM_KEY: &str = "crc32c = \"";

/// Prepends a line with the text's checksum.
pub(crate) fn with_checksum(text: &str) -> String {
    format!("{CHECKSUM_KEY}{:08x}\"\n{text}", crc32c::crc32c(text.as_bytes()))
}

/// Returns the text after the checksum line, or what is wrong with the checksum.
pub(crate) fn without_checksum(text: &str) -> Result<&str, String> {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    let checksum = format!("{:08x}", crc32c::crc32c(rest.as_bytes()));
    let found = line.strip_prefix(CHECKSUM_KEY).and_then(|line| line.strip_suffix('"'));
    match found {
        Some(found) if found == checksum => Ok(rest),
        Some(found) => Err(format!("its checksum is {checksum}, but the first line says {found}")),
        None => Err("its first line is not a checksum".to_owned()),
    }
}
