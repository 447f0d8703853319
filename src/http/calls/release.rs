//! `POST /v1/pools/{pool}/release`: ends leases and rests now.

use std::sync::Arc;

use hyper::Request;
use hyper::body::{Body as _, Incoming};

use crate::domain::holder::HolderName;
use crate::domain::remark::Remark;
use crate::engine::RetireReport;
use crate::engine::operations::release::RELEASED_STATES;
use crate::engine::pool::Pool;
use crate::http::actor::Actor;
use crate::http::blocking;
use crate::http::calls::holders;
use crate::http::calls::numbers::with_lines;
use crate::http::calls::{Api, Handled, Reply, pool_of, query_of, remark, upload};
use crate::http::lanes::Lane;
use crate::http::request::number_list::{LIST_PARAMETERS, Source};
use crate::http::request::query::Query;
use crate::http::request::within::WithinField;
use crate::http::response::json;
use crate::http::response::problem::Problem;
use crate::state::number_state::State;
use crate::state::state_set::StateSet;

const WHAT_TO_GIVE: &str =
    "give a list of numbers as the body, or state=leased, state=resting or both, or holder";

/// `POST /v1/pools/{pool}/release`
pub(crate) fn release(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    let own = ["state", "within", "holder", remark::REASON];
    let query = Query::parse(query_of(&request), &[LIST_PARAMETERS.as_slice(), &own].concat())?;
    let dry_run = query.flag("dry_run")?;
    let done = Done { pool: Arc::clone(&pool), reason: remark::of(&query)?.filter(|_| !dry_run) };
    let within = query.text("within").map(WithinField::from_query).transpose()?;
    let has_body = !request.body().is_end_stream();
    if let Some(holder) = query.text("holder") {
        if has_body || ["state", "within"].iter().any(|name| query.text(name).is_some()) {
            return Err(Problem::bad_request("holder goes alone: leave out the list, state and within"));
        }
        refuse_list_parameters(&query, "holder")?;
        return Handled::later(of_holder(holders::tracking(pool)?, holders::named(holder)?, dry_run, done));
    }
    if let Some(states) = query.text("state") {
        let states = states_of(states)?;
        if has_body {
            return Err(Problem::bad_request("state goes without a list: leave out the one or the other"));
        }
        refuse_list_parameters(&query, "state")?;
        return Handled::later(of_states(pool, states, within, dry_run, done));
    }
    if within.is_some() {
        return Err(Problem::bad_request("within goes with state=leased, state=resting or both"));
    }
    if !has_body {
        return Err(Problem::bad_request(format!("There is nothing to release: {WHAT_TO_GIVE}")));
    }
    let source = Source::of(request.headers(), &query)?;
    let (api, actor, body) = (Arc::clone(api), actor.clone(), request.into_body());
    Handled::later(async move {
        let release = move |input: &mut _| Ok(pool.release(source.over(input), dry_run)?);
        let report = upload(&api, &actor, body, release).await?;
        done.tell();
        Ok(with_lines(counts_json(&report), &report.loaded))
    })
}

/// What the pool tells once the release is done.
struct Done {
    pool: Arc<Pool>,
    reason: Option<Remark>,
}

impl Done {
    fn tell(self) {
        if let Some(reason) = self.reason {
            self.pool.leave_notice("released", reason);
        }
    }
}

/// Refuses what is only for a list.
fn refuse_list_parameters(query: &Query, with: &str) -> Result<(), Problem> {
    let of_a_list = LIST_PARAMETERS.into_iter().filter(|name| *name != "dry_run");
    match of_a_list.into_iter().find(|name| query.text(name).is_some()) {
        Some(name) => Err(Problem::bad_request(format!("{name} is for a list: leave it out with {with}"))),
        None => Ok(()),
    }
}

/// The states that `state=` names.
fn states_of(text: &str) -> Result<StateSet, Problem> {
    let mut states = StateSet::default();
    for word in text.split(',') {
        match word.parse::<State>() {
            Ok(state) if RELEASED_STATES.contains(&state) => states = states.with(state),
            _ => {
                let detail = format!("state is \"{word}\": give leased, resting, or both with a comma");
                return Err(Problem::bad_request(detail));
            }
        }
    }
    Ok(states)
}

async fn of_states(
    pool: Arc<Pool>,
    states: StateSet,
    within: Option<WithinField>,
    dry_run: bool,
    done: Done,
) -> Reply {
    let report = blocking::answer(Lane::Long, move || {
        let within = within.map(|field| pool.within(&field.0));
        Ok(pool.release_states(states, within.as_ref(), dry_run)?)
    });
    let report = report.await?;
    done.tell();
    Ok(json::ok_json(format!("{}}}", counts_json(&report))))
}

async fn of_holder(pool: Arc<Pool>, holder: HolderName, dry_run: bool, done: Done) -> Reply {
    let report = blocking::answer(Lane::Long, move || Ok(pool.release_all(&holder, dry_run)?));
    let report = report.await?;
    done.tell();
    Ok(json::ok_json(format!("{}}}", counts_json(&report))))
}

/// The beginning of the answer.
fn counts_json(report: &RetireReport) -> String {
    format!(
        "{{\"released\":{},\"already\":{},\"unknown\":{},\"leased\":{}",
        report.changed, report.already, report.unknown, report.leased
    )
}
