//! Where the value of a flag comes from: what the environment gives is not blamed on a flag.

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, Error};

use crate::daemon::config::args::GivenKeys;

/// Reads the command line and the environment by `command`.
pub(super) fn matches(command: &Command) -> Result<ArgMatches, Error> {
    command.clone().try_get_matches().map_err(|error| named(error, command))
}

/// An error that names the variable of the environment if the flag in it was not given.
fn named(mut error: Error, command: &Command) -> Error {
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else { return error };
    let flag = arg.split([' ', '=']).next().unwrap_or_default().to_owned();
    let is_given = |text: String| text == flag || text.starts_with(&format!("{flag}="));
    if std::env::args_os().any(|text| is_given(text.to_string_lossy().into_owned())) {
        return error;
    }
    if let Some(variable) = variable_of(command, flag.trim_start_matches('-')) {
        error.insert(ContextKind::InvalidArg, ContextValue::String(variable));
    }
    error
}

/// The variable of the environment that gives a flag of a command, or of one below it.
fn variable_of(command: &Command, long: &str) -> Option<String> {
    let own = command.get_arguments().filter(|arg| arg.get_long() == Some(long));
    let variable = |arg: &clap::Arg| Some(arg.get_env()?.to_string_lossy().into_owned());
    let set = |name: &String| std::env::var_os(name).is_some();
    own.filter_map(variable)
        .find(set)
        .or_else(|| command.get_subcommands().find_map(|below| variable_of(below, long)))
}

/// The keys that a command was given, by flags and by the environment.
pub(super) fn given(matches: &ArgMatches) -> GivenKeys {
    let by = |source| {
        let ids = matches.ids().map(clap::Id::as_str);
        // Groups are ids too, without a value of their own.
        let of_source =
            ids.filter(|id| matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(source));
        of_source.map(str::to_owned).collect()
    };
    GivenKeys { flags: by(ValueSource::CommandLine), environment: by(ValueSource::EnvVariable) }
}
