//! Text whose first line is a checksum of the rest, so that a flipped bit is not read as a setting.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

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

/// The values of a file in TOML with a checksum and a `format`.
///
/// They go through a plain value: files of this kind are small and have many types, each of which would be
/// compiled for every part of the parser.
pub(crate) struct ChecksummedToml(Value);

impl ChecksummedToml {
    /// Reads a file's content. The error says what is wrong with it.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(content).map_err(|error| error.to_string())?;
        toml::from_str(without_checksum(text)?).map(Self).map_err(|error| error.message().to_owned())
    }

    /// The number of the file's format, which is known before its other values are understood.
    pub(crate) fn format(&self) -> Result<u32, String> {
        match self.0.get("format").map(|format| format.as_u64().and_then(|format| u32::try_from(format).ok()))
        {
            Some(Some(format)) => Ok(format),
            Some(None) => Err("format is not a number".to_owned()),
            None => Err("missing field `format`".to_owned()),
        }
    }

    /// The values of the file.
    pub(crate) fn values<T: DeserializeOwned>(self) -> Result<T, String> {
        T::deserialize(self.0).map_err(|error| error.to_string())
    }
}

/// The content of a file with these values.
pub(crate) fn checksummed_toml(values: &impl Serialize) -> std::io::Result<String> {
    Ok(with_checksum(&toml::to_string(values).map_err(std::io::Error::other)?))
}
