//! The flags of a bench.

use std::path::PathBuf;

/// The settings of a bench.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    args: Vec<String>,
    /// Less of everything: to see that it works, not to measure.
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    /// Where the servers keep their data.
    pub(crate) dir: PathBuf,
    /// Only the parts of these names.
    pub(crate) only: Option<String>,
}

impl Options {
    pub(crate) fn read(args: &[String]) -> Self {
        let value = |flag: &str| value_of(args, flag);
        let quick = args.iter().any(|arg| arg == "--quick");
        let rounds = value("--rounds").map(|text| text.parse().expect("--rounds is a number"));
        Self {
            quick,
            rounds: rounds.unwrap_or(if quick { 1 } else { 3 }),
            dir: value("--dir").map_or_else(std::env::temp_dir, PathBuf::from),
            only: value("--only"),
            args: args.to_vec(),
        }
    }

    pub(crate) fn value(&self, flag: &str) -> Option<String> {
        value_of(&self.args, flag)
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.args.iter().any(|arg| arg == flag)
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.split(',').any(|only| only == name))
    }
}

fn value_of(args: &[String], flag: &str) -> Option<String> {
    args.iter().position(|arg| arg == flag).map(|at| args[at + 1].clone())
}
