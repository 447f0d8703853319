//! Files of numbers: what they are, and where in them a line is.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::client::Payload;

use super::error::CliError;
use super::workbook;

/// How files of numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Csv,
    Roaring,
    Xlsx,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain",
            Self::Csv | Self::Xlsx => "text/csv",
            Self::Roaring => "application/octet-stream",
        }
    }

    /// The format by the name of a file, without the extension of its compression.
    fn by_name(path: &Path) -> Self {
        let extension = |path: &Path| Some(path.extension()?.to_str()?.to_ascii_lowercase());
        let inner = match extension(path).as_deref() {
            Some("gz" | "gzip" | "zst" | "zstd") => path.with_extension(""),
            _ => path.to_owned(),
        };
        match extension(&inner).as_deref() {
            Some("csv" | "tsv") => Self::Csv,
            Some("roaring" | "numbers" | "bin") => Self::Roaring,
            Some("xlsx") => Self::Xlsx,
            _ => Self::Text,
        }
    }

    /// The format of a file: a workbook is known by its first bytes too.
    fn of(path: &Path) -> Self {
        let mut start = Vec::new();
        if path.as_os_str() != "-"
            && let Ok(file) = File::open(path)
            && file.take(workbook::SIGNATURE.len() as u64).read_to_end(&mut start).is_ok()
            && start == workbook::SIGNATURE
        {
            return Self::Xlsx;
        }
        Self::by_name(path)
    }
}

/// The format that all files share.
pub(super) fn shared_format(files: &[PathBuf], given: Option<Format>) -> Result<Format, CliError> {
    let mut formats = files.iter().map(|path| given.unwrap_or_else(|| Format::of(path)));
    let first = formats.next().unwrap_or(Format::Text);
    if formats.any(|format| format != first) {
        return Err(CliError::Usage("the files have different formats: send them one by one".to_owned()));
    }
    if first != Format::Text && files.len() > 1 {
        return Err(CliError::Usage(
            "only text files can be sent together: send CSV, Roaring and workbook files one by one"
                .to_owned(),
        ));
    }
    Ok(first)
}

/// The content of files, as the daemon reads it.
pub(super) fn payload(
    files: &[PathBuf],
    format: Format,
    sheet: Option<&str>,
    on_bytes: impl Fn(u64) + Send + 'static,
) -> Result<Payload, CliError> {
    let failed = |error| CliError::Failed(format!("the file cannot be read: {error}"));
    match (format, files) {
        (Format::Xlsx, [file]) => {
            let mut content = Vec::new();
            if file.as_os_str() == "-" {
                std::io::stdin().read_to_end(&mut content).map_err(failed)?;
            } else {
                content = std::fs::read(file)
                    .map_err(|error| CliError::Failed(format!("{}: {error}", file.display())))?;
            }
            Ok(Payload::Bytes(workbook::to_csv(file, content, sheet)?.into()))
        }
        _ => Payload::files(files, on_bytes).map_err(failed),
    }
}

/// The file in which a line of all files together is, and its line there.
pub(super) fn locate(files: &[PathBuf], line: u64) -> Option<(&Path, u64)> {
    if let [file] = files {
        return Some((file, line));
    }
    let mut before = 0;
    for file in files {
        // What was read from standard input is gone.
        let lines = lines_sent(file)?;
        if line <= before + lines {
            return Some((file, line - before));
        }
        before += lines;
    }
    None
}

/// How many lines a file has, and the line end that is sent after it.
fn lines_sent(path: &Path) -> Option<u64> {
    let mut file = BufReader::new(File::open(path).ok()?);
    let mut lines = 1;
    loop {
        let part = file.fill_buf().ok()?;
        if part.is_empty() {
            return Some(lines);
        }
        lines += memchr::memchr_iter(b'\n', part).count() as u64;
        let length = part.len();
        file.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_files_are() {
        for (name, format) in [
            ("a.CSV", Format::Csv),
            ("a.csv.gz", Format::Csv),
            ("a.tsv.ZST", Format::Csv),
            ("a.numbers", Format::Roaring),
            ("a.XLSX", Format::Xlsx),
            ("a.gz", Format::Text),
            ("a", Format::Text),
        ] {
            assert_eq!(Format::by_name(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn a_line_is_found_in_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let files = [("a", "1\n2\n"), ("b", "3\n4"), ("c", "5")].map(|(name, content)| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        });
        // What is sent: 1, 2, an empty line, 3, 4, 5.
        for (line, file, own_line) in [(1, 0, 1), (2, 0, 2), (4, 1, 1), (5, 1, 2), (6, 2, 1)] {
            assert_eq!(locate(&files, line), Some((files[file].as_path(), own_line)), "{line}");
        }
        assert_eq!(locate(&files, 7), None);
        assert_eq!(locate(&files[..1], 99), Some((files[0].as_path(), 99)));
    }
}
