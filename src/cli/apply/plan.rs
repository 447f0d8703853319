//! What has to be done, in order: lists first, as pools name them.

use std::collections::BTreeMap;

use hyper::Method;
use serde_json::{Map, Value};

use crate::cli::error::CliError;
use crate::cli::figures::grouped;
use crate::cli::pool::{list_name, pool_path};
use crate::client::{self, Call, ClientError, Payload, Server};
use crate::domain::settings::Settings;

use super::file::{ApplyFile, NumberFile, WantedList, WantedPool, code_of};
use super::settings;
use super::tokens::{self, TokensChange};

/// The changes, and the pools and lists that are there and not in the file.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) left_out: Vec<String>,
}

/// A change, and the lines that say what it is.
pub(super) struct Step {
    pub(super) lines: Vec<String>,
    change: Change,
}

enum Change {
    /// Makes an empty list.
    CreateList(String),
    /// Changes settings of a pool.
    Settings(String, Map<String, Value>),
    /// Sends a file of numbers.
    Numbers(Method, String, NumberFile),
    Tokens(TokensChange),
}

impl Step {
    fn new(line: String, change: Change) -> Self {
        Self { lines: vec![line], change }
    }

    pub(super) fn run(self, server: &Server) -> Result<(), CliError> {
        match self.change {
            Change::CreateList(path) => drop(client::send(server, Call::new(Method::PUT, &path))?),
            Change::Settings(path, settings) => {
                client::send(server, Call::json(Method::PATCH, &path, &Value::Object(settings)))?;
            }
            Change::Numbers(method, path, file) => {
                upload(server, method, &file.at(&path, false), &file)?;
            }
            Change::Tokens(change) => change.write()?,
        }
        Ok(())
    }
}

impl Plan {
    /// Compares what the file wants with what the daemon has. Changes nothing.
    pub(super) fn of(wanted: &ApplyFile, server: &Server) -> Result<Self, CliError> {
        let pools = by_name(&ask(server, "/v1/pools")?, "pool");
        let lists = by_name(&ask(server, "/v1/lists")?, "list");
        let mut steps = Vec::new();
        for (name, list) in &wanted.lists {
            let is_there = lists.contains_key(name);
            if let Some(file) = list.numbers()?.filter(|_| !is_there) {
                check_new_list(&file, &pools, server)?;
            }
            steps.extend(list_steps(name, list, is_there, server)?);
        }
        for (name, pool) in &wanted.pools {
            let settings =
                settings::resulting(name, &settings::wanted(name, &pool.settings)?, pools.get(name))?;
            for list in settings.iter().flat_map(Settings::lists).map(|list| list.to_string()) {
                if !lists.contains_key(&list) && !wanted.lists.contains_key(&list) {
                    return Err(CliError::Failed(format!(
                        "the settings of pool {name} name the list {list}, which is not there: add [lists.{list}], or \
                         give another one"
                    )));
                }
            }
            match pools.get(name) {
                None => steps.extend(new_pool(name, pool, server)?),
                Some(there) => steps.extend(pool_steps(name, pool, there, server)?),
            }
        }
        if let Some(change) = tokens::change(wanted)? {
            let lines = change.lines.clone();
            steps.push(Step { lines, change: Change::Tokens(change) });
        }
        let left = |kind: &str, there: &BTreeMap<String, Value>, is_wanted: &dyn Fn(&String) -> bool| {
            let names = there.keys().filter(|name| !is_wanted(name));
            names.map(|name| format!("{kind} {name}")).collect::<Vec<_>>()
        };
        let mut left_out = left("pool", &pools, &|name| wanted.pools.contains_key(name));
        left_out.extend(left("list", &lists, &|name| wanted.lists.contains_key(name)));
        Ok(Self { steps, left_out })
    }
}

fn ask(server: &Server, path: &str) -> Result<Value, CliError> {
    answer(client::send(server, Call::new(Method::GET, path))?)
}

fn answer(text: impl AsRef<str>) -> Result<Value, CliError> {
    Ok(serde_json::from_str(text.as_ref()).map_err(|error| ClientError::Answer(error.to_string()))?)
}

/// The objects of `{"pools":[…]}` or `{"lists":[…]}` by their names.
fn by_name(answer: &Value, member: &str) -> BTreeMap<String, Value> {
    let all = answer[format!("{member}s")].as_array().into_iter().flatten();
    all.filter_map(|each| Some((each[member].as_str()?.to_owned(), each.clone()))).collect()
}

fn upload(server: &Server, method: Method, path: &str, file: &NumberFile) -> Result<Value, CliError> {
    let payload: Payload = file.payload()?;
    let call = Call { content_type: Some(file.content_type()), payload, ..Call::new(method, path) };
    client::send(server, call).map_err(|error| file.named(error.into())).and_then(answer)
}

/// What an upload would do, by a dry run.
fn preview(server: &Server, method: Method, path: &str, file: &NumberFile) -> Result<Value, CliError> {
    upload(server, method, &file.at(path, true), file)
}

/// Has the daemon read the file of a list that is not there yet. It has a dry run of new pools alone, of a name that
/// no pool has. Whoever may not ask for that gets to know at the change.
fn check_new_list(
    file: &NumberFile,
    pools: &BTreeMap<String, Value>,
    server: &Server,
) -> Result<(), CliError> {
    // One name more than there are pools.
    let mut names = (0..=pools.len()).map(|number| format!("list-{number}"));
    let unused = names.find(|name| !pools.contains_key(name));
    let path = pool_path(&unused.unwrap_or_default(), "")?;
    match preview(server, Method::PUT, &path, file) {
        Err(error) if code_of(&error) == Some("forbidden") => Ok(()),
        read => read.map(drop),
    }
}

fn figure(answer: &Value, member: &str) -> u64 {
    answer[member].as_u64().unwrap_or_default()
}

fn numbers(count: u64) -> String {
    format!("{} {}", grouped(count), if count == 1 { "number" } else { "numbers" })
}

fn list_steps(name: &str, list: &WantedList, is_there: bool, server: &Server) -> Result<Vec<Step>, CliError> {
    let path = format!("/v1/lists/{}", list_name(name)?);
    let (file, replace) = (list.numbers()?, format!("{path}/replace"));
    let mut steps = Vec::new();
    if !is_there {
        steps.push(Step::new(format!("+ list {name}"), Change::CreateList(path.clone())));
    }
    let Some(file) = file else { return Ok(steps) };
    let line = if is_there {
        let would = preview(server, Method::POST, &replace, &file)?;
        let (added, removed) = (figure(&would, "added"), figure(&would, "removed"));
        (added + removed > 0)
            .then(|| format!("~ list {name}: {} added, {} removed", numbers(added), grouped(removed)))
    } else {
        // The daemon has no dry run of a list that is not there.
        Some(format!("~ list {name}: the numbers of {}", file.name()))
    };
    steps.extend(line.map(|line| Step::new(line, Change::Numbers(Method::POST, replace, file))));
    Ok(steps)
}

/// A new pool has the settings that can be given at its creation from the start; the others follow.
fn new_pool(name: &str, pool: &WantedPool, server: &Server) -> Result<Vec<Step>, CliError> {
    let path = pool_path(name, "")?;
    let Some(file) = pool.numbers()? else {
        return Err(CliError::Failed(format!(
            "the pool {name} is not there: say with numbers what it is made of"
        )));
    };
    let settings = settings::wanted(name, &pool.settings)?;
    let count = figure(&preview(server, Method::PUT, &path, &file)?, "numbers");
    let mut lines = vec![format!("+ pool {name}, with {}", numbers(count))];
    lines.extend(settings.iter().map(|(name, value)| format!("    {name}: {value}")));
    let (at_creation, later) = settings::at_creation(name, settings)?;
    let file = file.with(at_creation);
    let mut steps = vec![Step { lines, change: Change::Numbers(Method::PUT, path.clone(), file) }];
    if !later.is_empty() {
        steps.push(Step { lines: Vec::new(), change: Change::Settings(path, later) });
    }
    Ok(steps)
}

fn pool_steps(name: &str, pool: &WantedPool, there: &Value, server: &Server) -> Result<Vec<Step>, CliError> {
    let mut steps = Vec::new();
    let differences =
        settings::differences(&settings::wanted(name, &pool.settings)?, &with_note(there, pool, server)?);
    if !differences.is_empty() {
        let mut lines = vec![format!("~ pool {name}")];
        let mut body = Map::new();
        for (setting, is, should) in differences {
            lines.push(format!("    {setting}: {is} -> {should}"));
            body.insert(setting, should);
        }
        let change = Change::Settings(pool_path(name, "")?, body);
        steps.push(Step { lines, change });
    }
    if let Some(file) = pool.numbers()? {
        let path = pool_path(name, "/numbers")?;
        let added = figure(&preview(server, Method::POST, &path, &file)?, "added");
        if added > 0 {
            let line = format!("~ pool {name}: {} added", numbers(added));
            steps.push(Step::new(line, Change::Numbers(Method::POST, path, file)));
        }
    }
    Ok(steps)
}

/// The pool with its note, which the daemon shows by a call of its own, if the file has one.
fn with_note(there: &Value, pool: &WantedPool, server: &Server) -> Result<Value, CliError> {
    let mut there = there.clone();
    if pool.settings.contains_key("note") {
        let path = pool_path(there["pool"].as_str().unwrap_or_default(), "/note")?;
        let note = match client::send(server, Call::new(Method::GET, &path)) {
            Ok(note) => note,
            // A pool without a note.
            Err(ClientError::Refused { .. }) => String::new(),
            Err(error) => return Err(error.into()),
        };
        there["settings"]["note"] = note.into();
    }
    Ok(there)
}
