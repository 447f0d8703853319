//! The file of `allotd apply`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::cli::error::CliError;
use crate::cli::number_files::{Format, payload, shared_format};
use crate::cli::upload::with_query;
use crate::client::{ClientError, Payload};

/// Parameters of a query.
pub(super) type Parameters = Vec<(&'static str, String)>;

/// What is wanted. Pools and lists that are not in it are left as they are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplyFile {
    /// The tokens file of the daemon, which is made of `token`.
    pub(super) tokens_file: Option<PathBuf>,
    /// The entries of the tokens file, as they stand there.
    pub(super) token: Option<Vec<toml::Value>>,
    #[serde(default)]
    pub(super) lists: BTreeMap<String, WantedList>,
    #[serde(default)]
    pub(super) pools: BTreeMap<String, WantedPool>,
}

/// A list: all numbers that are on it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedList {
    /// Without it the numbers of a list that is there stay, and a new one is empty.
    numbers: Option<PathBuf>,
    #[serde(default)]
    reading: BTreeMap<String, toml::Value>,
}

/// A pool: numbers that are in it, and settings; those that are left out stay as they are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedPool {
    numbers: Option<PathBuf>,
    #[serde(default)]
    reading: BTreeMap<String, toml::Value>,
    #[serde(default)]
    pub(super) settings: toml::Table,
}

/// A file of numbers, and the parameters of how it is read.
#[derive(Debug, Clone)]
pub(super) struct NumberFile {
    path: PathBuf,
    format: Format,
    parameters: Vec<(String, String)>,
}

impl ApplyFile {
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let failed = |reason: String| CliError::Failed(format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let mut file: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            failed(format!("line {line}: {}", error.message()))
        })?;
        let directory = path.parent().unwrap_or(Path::new(""));
        let lists = file.lists.values_mut().map(|list| &mut list.numbers);
        let pools = file.pools.values_mut().map(|pool| &mut pool.numbers);
        for path in lists.chain(pools).chain([&mut file.tokens_file]).flatten() {
            *path = directory.join(&*path);
        }
        Ok(file)
    }
}

impl WantedList {
    pub(super) fn numbers(&self) -> Result<Option<NumberFile>, CliError> {
        NumberFile::of(self.numbers.as_deref(), &self.reading)
    }
}

impl WantedPool {
    pub(super) fn numbers(&self) -> Result<Option<NumberFile>, CliError> {
        NumberFile::of(self.numbers.as_deref(), &self.reading)
    }
}

impl NumberFile {
    fn of(path: Option<&Path>, reading: &BTreeMap<String, toml::Value>) -> Result<Option<Self>, CliError> {
        let Some(path) = path else { return Ok(None) };
        let value = |value: &toml::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let parameters = reading.iter().map(|(name, given)| (name.clone(), value(given))).collect();
        let format = shared_format(&[path.to_owned()], None)?;
        Ok(Some(Self { path: path.to_owned(), format, parameters }))
    }

    /// The path of a call that takes the file, with how it is read, and `dry_run` if asked for.
    pub(super) fn at(&self, path: &str, dry_run: bool) -> String {
        let mut parameters = self.parameters.clone();
        if dry_run {
            parameters.push(("dry_run".to_owned(), "true".to_owned()));
        }
        with_query(path, &parameters)
    }

    /// The same file with more parameters.
    pub(super) fn with(mut self, more: Parameters) -> Self {
        self.parameters.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        self
    }

    /// The name of the file, for people.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(super) fn content_type(&self) -> &'static str {
        self.format.content_type()
    }

    pub(super) fn payload(&self) -> Result<Payload, CliError> {
        payload(std::slice::from_ref(&self.path), self.format, None, |_| {})
    }

    /// An error of the daemon, with the file if that is to blame.
    pub(super) fn named(&self, error: CliError) -> CliError {
        match code_of(&error) {
            None | Some("bad_request" | "too_large" | "unsupported_media_type") => {
                CliError::Failed(format!("{}: {error}", self.path.display()))
            }
            Some(_) => error,
        }
    }
}

/// The code of a refusal by the daemon.
pub(super) fn code_of(error: &CliError) -> Option<&str> {
    match error {
        CliError::Refused(ClientError::Refused { problem, .. }) => problem["code"].as_str(),
        _ => None,
    }
}

/// A TOML value as JSON. Dates are texts.
pub(super) fn json_of(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(is) => (*is).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => values.iter().map(json_of).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.iter().map(|(key, value)| (key.clone(), json_of(value))).collect())
        }
    }
}
