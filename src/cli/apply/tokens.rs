//! The tokens file in a file of `allotd apply`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use crate::auth::tokens_file;
use crate::cli::error::CliError;

use super::file::ApplyFile;

/// The mode of a new tokens file.
const MODE: u32 = 0o600;

/// The tokens file as it should be, and what differs.
pub(super) struct TokensChange {
    pub(super) lines: Vec<String>,
    path: PathBuf,
    text: String,
}

/// The change of the tokens file, if it is not as the file wants it. The tokens file of another machine cannot be
/// written: this one is meant to be the daemon's.
pub(super) fn change(wanted: &ApplyFile) -> Result<Option<TokensChange>, CliError> {
    let (Some(path), Some(tokens)) = (&wanted.tokens_file, &wanted.token) else {
        return match (&wanted.tokens_file, &wanted.token) {
            (None, Some(_)) => Err(CliError::Failed(
                "[[token]] is given without tokens_file: say which file they go into".to_owned(),
            )),
            _ => Ok(None),
        };
    };
    let text = text_of(tokens)?;
    if let Err(faults) = tokens_file::parse(&text) {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        return Err(CliError::Failed(format!("the tokens are not understood: {}", faults.join("; "))));
    }
    let failed = |error: io::Error| CliError::Failed(format!("{}: {error}", path.display()));
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let before: toml::Table = toml::from_str(&before)
        .map_err(|error| CliError::Failed(format!("{}: {}", path.display(), error.message())))?;
    let before = before.get("token").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let lines = differences(&by_name(&before), &by_name(tokens), path);
    Ok((!lines.is_empty()).then(|| TokensChange { lines, path: path.clone(), text }))
}

fn text_of(tokens: &[toml::Value]) -> Result<String, CliError> {
    let table = toml::Table::from_iter([("token".to_owned(), toml::Value::Array(tokens.to_vec()))]);
    toml::to_string(&table)
        .map_err(|error| CliError::Failed(format!("the tokens cannot be written: {error}")))
}

fn by_name(tokens: &[toml::Value]) -> BTreeMap<&str, &toml::Value> {
    tokens.iter().filter_map(|token| Some((token.get("name")?.as_str()?, token))).collect()
}

fn differences(
    before: &BTreeMap<&str, &toml::Value>,
    wanted: &BTreeMap<&str, &toml::Value>,
    path: &Path,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, token) in wanted {
        match before.get(name) {
            None => lines.push(format!("+ token {name}")),
            Some(there) if there != token => lines.push(format!("~ token {name}")),
            Some(_) => {}
        }
    }
    lines.extend(
        before.keys().filter(|name| !wanted.contains_key(*name)).map(|name| format!("- token {name}")),
    );
    if !lines.is_empty() {
        lines.push(format!("    in {}, which the daemon reads at its next reload (SIGHUP)", path.display()));
    }
    lines
}

impl TokensChange {
    /// Writes the file whole or not at all, with the owner and the mode that it has.
    pub(super) fn write(&self) -> Result<(), CliError> {
        self.replace().map_err(|error| CliError::Failed(format!("{}: {error}", self.path.display())))
    }

    fn replace(&self) -> io::Result<()> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = self.path.with_file_name(name);
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&new)?;
        file.write_all(self.text.as_bytes())?;
        if let Ok(there) = fs::metadata(&self.path) {
            file.set_permissions(fs::Permissions::from_mode(there.mode() & 0o777))?;
            chown(&new, Some(there.uid()), Some(there.gid()))?;
        }
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}
