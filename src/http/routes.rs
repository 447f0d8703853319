//! The calls by method and path, a row per call. A new endpoint is one row here and one handler in `calls/`.

use hyper::Method;

use crate::http::calls::{
    audit, backup, cluster, events, export, health, holders, hours, lease, lease_several, lists, map,
    metrics, note, numbers, one_lease, openapi, page, pools, release, renew_return, stats,
};
use crate::http::counters::requests::Call;
use crate::http::request::path;
use crate::http::response::problem::Problem;

use super::calls::Handler;

/// One call of the API.
pub(crate) struct Route {
    /// A route of `GET` also serves `HEAD`.
    method: Method,
    /// A part in braces matches any text without slashes; `{file}`, the last, also matches slashes.
    path: &'static str,
    /// The name under which it is counted.
    pub(crate) call: Call,
    pub(crate) handler: Handler,
}

const fn route(method: Method, path: &'static str, call: Call, handler: Handler) -> Route {
    Route { method, path, call, handler }
}

/// The paths that do not name a pool.
static DAEMON: [Route; 16] = [
    route(Method::GET, "/", Call::Page, page::index),
    route(Method::GET, "/page/{file}", Call::Page, page::file),
    route(Method::POST, "/v1/lease", Call::LeaseSeveral, lease_several::lease),
    route(Method::GET, "/v1/pools", Call::ListPools, pools::list),
    route(Method::GET, "/v1/lists", Call::ListLists, lists::list),
    route(Method::GET, "/v1/stats", Call::Stats, stats::show),
    route(Method::GET, "/v1/audit", Call::Audit, audit::show),
    route(Method::POST, "/v1/backup", Call::Backup, backup::make),
    route(Method::GET, "/v1/cluster", Call::Cluster, cluster::show),
    route(Method::POST, "/v1/cluster/handover", Call::HandOver, cluster::hand_over),
    route(Method::POST, "/v1/cluster/forget", Call::ForgetMember, cluster::forget),
    route(Method::GET, "/cluster/{file}", Call::Member, cluster::serve_member),
    route(Method::GET, "/metrics", Call::Metrics, metrics::show),
    route(Method::GET, "/openapi.json", Call::OpenApi, openapi::show),
    route(Method::GET, "/healthz", Call::Health, health::alive),
    route(Method::GET, "/readyz", Call::Health, health::ready),
];

/// The paths of a pool: the part after `/v1/pools/{pool}`.
static POOL: [Route; 28] = [
    route(Method::POST, "/lease", Call::Lease, lease::lease_with_body),
    route(Method::POST, "/renew", Call::Renew, renew_return::renew_leases),
    route(Method::POST, "/return", Call::Return, renew_return::return_leases),
    route(Method::GET, "", Call::ShowPool, pools::show),
    route(Method::PUT, "", Call::CreatePool, pools::create),
    route(Method::PATCH, "", Call::ChangePool, pools::change),
    route(Method::DELETE, "", Call::DeletePool, pools::delete),
    route(Method::GET, "/note", Call::Note, note::show),
    route(Method::GET, "/events", Call::Events, events::show),
    route(Method::GET, "/numbers", Call::Export, export::export),
    route(Method::POST, "/numbers", Call::AddNumbers, numbers::add),
    route(Method::GET, "/numbers/{number}", Call::Lookup, numbers::lookup),
    route(Method::POST, "/numbers/{number}/renew", Call::Renew, one_lease::renew),
    route(Method::POST, "/numbers/{number}/return", Call::Return, one_lease::return_lease),
    route(Method::GET, "/map", Call::Map, map::show),
    route(Method::POST, "/retire", Call::Retire, numbers::retire),
    route(Method::POST, "/reinstate", Call::Reinstate, numbers::reinstate),
    route(Method::GET, "/holders", Call::ListHolders, holders::list),
    route(Method::GET, "/holders/{holder}", Call::ShowHolder, holders::show),
    route(Method::POST, "/holders/{holder}/return", Call::ReturnHolder, holders::return_all),
    route(Method::GET, "/hours", Call::ShowHours, hours::show_hours),
    route(Method::GET, "/zones", Call::ShowZones, hours::show_zones),
    route(Method::PUT, "/zones", Call::ChangeZones, hours::put_zones),
    route(Method::DELETE, "/zones", Call::ChangeZones, hours::delete_zones),
    route(Method::POST, "/release", Call::Release, release::release),
    route(Method::POST, "/rounds", Call::StartRound, pools::start_round),
    route(Method::POST, "/pause", Call::Pause, pools::pause),
    route(Method::POST, "/resume", Call::Resume, pools::resume),
];

/// The paths of a list: the part after `/v1/lists/{list}`.
static LIST: [Route; 8] = [
    route(Method::GET, "", Call::ShowList, lists::show),
    route(Method::PUT, "", Call::CreateList, lists::create),
    route(Method::DELETE, "", Call::DeleteList, lists::delete),
    route(Method::GET, "/numbers", Call::ExportList, lists::export),
    route(Method::POST, "/numbers", Call::AddToList, lists::add),
    route(Method::GET, "/numbers/{number}", Call::LookupInList, lists::lookup),
    route(Method::POST, "/remove", Call::RemoveFromList, lists::remove),
    route(Method::POST, "/replace", Call::ReplaceList, lists::replace),
];

impl Route {
    #[inline]
    fn has_path(&self, path: &str) -> bool {
        let Some((before, rest)) = self.path.split_once('{') else { return self.path == path };
        let (name, after) = rest.split_once('}').unwrap_or((rest, ""));
        let text = path.strip_prefix(before).and_then(|text| text.strip_suffix(after));
        text.is_some_and(|text| name == "file" || !text.contains('/'))
    }

    fn has_method(&self, method: &Method) -> bool {
        self.method == *method || (self.method == Method::GET && *method == Method::HEAD)
    }
}

/// The route of a request. Fails with `not_found`, or with `method_not_allowed` and the methods of the path.
pub(crate) fn find(method: &Method, whole_path: &str) -> Result<&'static Route, Problem> {
    let (routes, path) = match path::split_pool(whole_path) {
        Some(("", "")) => return Err(Problem::not_found()),
        Some((_, rest)) => (POOL.as_slice(), rest),
        None => match path::split_list(whole_path) {
            Some(("", "")) => return Err(Problem::not_found()),
            Some((_, rest)) => (LIST.as_slice(), rest),
            None => (DAEMON.as_slice(), whole_path),
        },
    };
    let mut there = routes.iter().filter(|route| route.has_path(path)).peekable();
    if there.peek().is_none() {
        return Err(Problem::not_found());
    }
    let mut allow = Vec::new();
    for route in there {
        if route.has_method(method) {
            return Ok(route);
        }
        allow.push(if route.method == Method::GET { "GET, HEAD" } else { route.method.as_str() });
    }
    Err(Problem::method_not_allowed(&allow.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_found_by_path_and_method() {
        let call =
            |method, path| find(&method, path).map(|route| route.call).map_err(|problem| problem.code());
        assert_eq!(call(Method::POST, "/v1/pools/ru/return"), Ok(Call::Return));
        assert_eq!(call(Method::HEAD, "/v1/pools/ru"), Ok(Call::ShowPool));
        assert_eq!(call(Method::GET, "/v1/pools/ru/numbers/7"), Ok(Call::Lookup));
        assert_eq!(call(Method::POST, "/v1/pools/ru/numbers/7/return"), Ok(Call::Return));
        assert_eq!(call(Method::GET, "/v1/pools/ru/numbers/7/renew"), Err("method_not_allowed"));
        assert_eq!(call(Method::GET, "/v1/pools/ru/numbers"), Ok(Call::Export));
        assert_eq!(call(Method::GET, "/page/uplot/LICENSE"), Ok(Call::Page));
        assert_eq!(call(Method::GET, "/v1/lists"), Ok(Call::ListLists));
        assert_eq!(call(Method::PUT, "/v1/lists/optouts"), Ok(Call::CreateList));
        assert_eq!(call(Method::GET, "/v1/lists/optouts/numbers/7"), Ok(Call::LookupInList));
        for path in [
            "/v1/lists/",
            "/v1/lists/a/b",
            "/v1/pools/",
            "/v1/pools/ru/",
            "/v1/pools/ru/numbers/7/8",
            "/v1",
            "/v1/pools/ru/lease/x",
        ] {
            assert_eq!(call(Method::POST, path), Err("not_found"), "{path}");
        }
        for path in ["/v1/pools/ru/lease", "/v1/backup", "/v1/pools/ru/numbers"] {
            assert_eq!(call(Method::DELETE, path), Err("method_not_allowed"), "{path}");
        }
    }
}
