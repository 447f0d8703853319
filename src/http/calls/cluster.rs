//! `GET /v1/cluster`, `POST /v1/cluster/handover`, `POST /v1/cluster/forget`, and what members ask of the primary.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::{Request, Response};
use serde::Deserialize;

use crate::backup::BackupName;
use crate::domain::json_fields::given;
use crate::http::actor::Actor;
use crate::http::blocking;
use crate::http::calls::{Api, Handled, Reply, query_of};
use crate::http::cluster::Cluster;
use crate::http::cluster_copy::DirectoryParts;
use crate::http::lanes::Lane;
use crate::http::request::{fields, query};
use crate::http::response::body::{Body, Parts, Stream};
use crate::http::response::code::Code;
use crate::http::response::json;
use crate::http::response::problem::Problem;
use crate::replication::filling;
use crate::sys::random;

/// Bytes of a file that are sent at once.
const PART_BYTES: usize = 256 << 10;
/// How often a copy is begun anew when pools or lists change meanwhile.
const MAX_COPIES: u32 = 10;
/// Pause before that.
const COPY_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberBody {
    #[serde(default, deserialize_with = "given")]
    member: Option<String>,
}

fn cluster_of(api: &Api) -> Result<&Arc<Cluster>, Problem> {
    let alone = || {
        let detail = "This daemon stands alone: it is a member of a cluster if it is started with --cluster";
        Problem::new(Code::NotFound, detail)
    };
    api.cluster.as_ref().ok_or_else(alone)
}

/// `GET /v1/cluster`
pub(crate) fn show(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let status = serde_json::to_string(&cluster_of(api)?.status());
    Ok(json::ok_json(status.map_err(|error| Problem::internal(&error))?).into())
}

/// `POST /v1/cluster/handover`
pub(crate) fn hand_over(
    api: &Arc<Api>,
    actor: &Actor,
    request: Request<Incoming>,
) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let (api, most_bytes) = (Arc::clone(api), actor.max_body_bytes());
    Handled::later(async move {
        let wanted = member(&api, request, most_bytes).await?;
        let cluster = cluster_of(&api)?;
        let view = cluster.primary.log().view();
        let mut standbys: Vec<_> = cluster.primary.standbys(&view).collect();
        standbys.sort_by_key(|(_, position)| std::cmp::Reverse(*position));
        let next = match &wanted {
            Some(wanted) => standbys.iter().find(|(member, _)| member == wanted),
            None => standbys.first(),
        };
        let Some((next, _)) = next else {
            let detail = match wanted {
                Some(wanted) => format!("No standby {wanted} is there: GET /v1/cluster lists the members"),
                None => "No standby is there to take over: start one".to_owned(),
            };
            return Err(Problem::new(Code::BadRequest, detail));
        };
        let answer = json::ok_json(format!("{{\"member\":{}}}", json::quoted(next)));
        cluster.hand_over((*next).to_owned());
        Ok(answer)
    })
}

/// `POST /v1/cluster/forget`
pub(crate) fn forget(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let (api, most_bytes) = (Arc::clone(api), actor.max_body_bytes());
    Handled::later(async move {
        let missing = || Problem::new(Code::BadRequest, "Name the member: {\"member\":\"ID\"}");
        let gone = member(&api, request, most_bytes).await?;
        let cluster = Arc::clone(cluster_of(&api)?);
        let gone = gone.ok_or_else(missing)?;
        if gone == cluster.primary.log().member() {
            let detail = "This member is the primary: hand over first, then have it forgotten";
            return Err(Problem::new(Code::BadRequest, detail));
        }
        blocking::answer(Lane::Long, move || {
            let unreachable = |error| Problem::new(Code::NotReady, format!("{error}: try again"));
            let is_known = cluster.primary.log().claims().map_err(unreachable)?.contains_key(&gone);
            if !is_known {
                let detail = format!("The log is not kept for a member {gone}: GET /v1/cluster lists them");
                return Err(Problem::new(Code::BadRequest, detail));
            }
            cluster.primary.log().forget(&gone).map_err(unreachable)?;
            Ok(json::ok_json(format!("{{\"member\":{}}}", json::quoted(&gone))))
        })
        .await
    })
}

async fn member(api: &Api, request: Request<Incoming>, most_bytes: u64) -> Result<Option<String>, Problem> {
    let bytes = api.bodies.collect_json(request.into_body(), most_bytes).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    Ok(fields::parse_object::<MemberBody>(&bytes)?.member)
}

/// The cluster, if the caller is a member.
fn of_member<'a>(api: &'a Api, request: &Request<Incoming>) -> Result<&'a Arc<Cluster>, Problem> {
    let cluster = cluster_of(api)?;
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    // In constant time: all bytes are looked at.
    let differs = shown.bytes().zip(cluster.key.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
    if shown.len() == cluster.key.len() && differs == 0 {
        Ok(cluster)
    } else {
        Err(Problem::new(Code::Forbidden, "This call is for the members of the cluster"))
    }
}

/// `GET /cluster/files/SEQUENCE/INDEX` and `GET /cluster/fill`: for members.
pub(crate) fn serve_member(
    api: &Arc<Api>,
    _actor: &Actor,
    request: Request<Incoming>,
) -> Result<Handled, Problem> {
    let cluster = of_member(api, &request)?;
    let path = request.uri().path();
    if path == "/cluster/fill" {
        let (api, cluster) = (Arc::clone(api), Arc::clone(cluster));
        return Handled::later(blocking::answer(Lane::Long, move || fill(&api, &cluster)));
    }
    let place = path.strip_prefix("/cluster/files/").and_then(|place| place.split_once('/'));
    let place = place.and_then(|(sequence, index)| Some((sequence.parse().ok()?, index.parse().ok()?)));
    let (sequence, index) = place.ok_or_else(Problem::not_found)?;
    let file = cluster.primary.offered.file(sequence, index).ok_or_else(Problem::not_found)?;
    Ok(streamed(FileParts { file, at: 0 }).into())
}

fn streamed(parts: impl Parts) -> Response<Body> {
    Response::new(Body::Stream(Box::new(Stream::new(parts))))
}

struct FileParts {
    file: Arc<File>,
    at: u64,
}

impl Parts for FileParts {
    fn next_part(&mut self) -> io::Result<Option<Bytes>> {
        let mut part = vec![0; PART_BYTES];
        let read = self.file.read_at(&mut part, self.at)?;
        part.truncate(read);
        self.at += read as u64;
        Ok((read > 0).then(|| part.into()))
    }
}

/// Answers with a copy of the data directory, and the entry that it stands for.
fn fill(api: &Api, cluster: &Cluster) -> Reply {
    for _ in 0..MAX_COPIES {
        let (position, files) = (cluster.primary.committed(), cluster.primary.files());
        let mut random_bytes = [0; 8];
        random::fill(&mut random_bytes).map_err(|error| Problem::internal(&error))?;
        let name = format!("fill-{:016x}", u64::from_le_bytes(random_bytes));
        let name: BackupName = name.parse()?;
        let made = api.engine.backup(Some(&name), &|| api.draining.load(Ordering::SeqCst))?;
        let copy = api.engine.backup_path(&made.name);
        let parts = DirectoryParts::new(copy.clone(), position, cluster.primary.epoch());
        let parts = parts.map_err(|error| Problem::internal(&error))?;
        let has_all =
            filling::has_all(api.engine.data_dir(), &copy).map_err(|error| Problem::internal(&error))?;
        // In this order: then what was there when they were compared is what there is at the position.
        if has_all && cluster.primary.has_files_of(files) {
            return Ok(streamed(parts));
        }
        thread::sleep(COPY_PAUSE);
    }
    let detail = "Pools and lists change too often to be copied: try again";
    Err(Problem::new(Code::NotReady, detail))
}
