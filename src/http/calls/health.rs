//! `GET /healthz` and `GET /readyz`

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::Request;
use hyper::body::Incoming;

use crate::http::actor::Actor;
use crate::http::calls::{Api, Handled, query_of};
use crate::http::request::query;
use crate::http::response::code::Code;
use crate::http::response::json;
use crate::http::response::problem::Problem;
use crate::journal::error::JournalError;

/// A write or a sync of the journal that takes longer, in seconds, hangs.
const MAX_WRITE_SECONDS: u64 = 5;

/// `GET /healthz`: the process responds.
pub(crate) fn alive(_api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    Ok(json::ok_json("{\"status\":\"alive\"}".to_owned()).into())
}

/// `GET /readyz`: the daemon accepts work.
pub(crate) fn ready(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let journal = api.engine.journal().check();
    if let Err(error @ (JournalError::Poisoned | JournalError::Deposed | JournalError::Full)) = journal {
        return Err(error.into());
    }
    let waited = api.engine.journal().writing_for().as_secs();
    if waited >= MAX_WRITE_SECONDS {
        return Err(Problem::new(
            Code::NotReady,
            format!(
                "A write to the journal has not ended for {waited} s, and nothing is confirmed meanwhile: look at the \
                 disk of the data directory"
            ),
        ));
    }
    if api.draining.load(Ordering::Relaxed) {
        return Err(Problem::new(Code::NotReady, "The server is shutting down: use another one"));
    }
    Ok(json::ok_json("{\"status\":\"ready\"}".to_owned()).into())
}
