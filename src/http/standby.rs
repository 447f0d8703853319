//! The server of a standby: it says what it is, and sends every other call to the primary.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, oneshot};

use crate::auth::authority::Authority;
use crate::auth::registry::Registry;
use crate::auth::role::Permission;
use crate::client::ByteStream;
use crate::state::time::Timestamp;
use crate::sys::monotonic::monotonic_nanos;

use super::access;
use super::caller::Caller;
use super::cluster::{ClusterStatus, figures};
use super::counters::requests::Call;
use super::request::headers::RequestHeaders;
use super::request::origin::{AllowedHost, Names};
use super::response::body::Body;
use super::response::code::Code;
use super::response::json;
use super::response::problem::Problem;
use super::server::addresses;
use super::server::entrance::{Entrance, EntranceError};
use super::server::listener::{Duplicate, Listener};
use super::server::tls::ServerTls;

/// Connections that are served at the same time.
const MAX_CONNECTIONS: usize = 1_024;
/// How long a connection may take for the head of a request.
const HEAD_SECONDS: u64 = 10;
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Says what this member knows of its cluster.
pub type StatusSource = Arc<dyn Fn() -> ClusterStatus + Send + Sync>;

/// A running server of a standby.
pub struct StandbyServer {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What the server of a standby is made of.
pub struct StandbyConfig {
    /// The certificates of the listeners with TLS.
    pub tls: Option<Arc<ServerTls>>,
    /// Names under which it may be called, beside those of its addresses.
    pub allow_hosts: Vec<AllowedHost>,
    /// Who may see how the cluster is; `None` for everybody.
    pub authority: Option<Arc<Authority>>,
    /// The names of principals.
    pub registry: Arc<Registry>,
    /// What this member knows of its cluster.
    pub status: StatusSource,
}

struct Standby {
    status: StatusSource,
    names: Names,
    authority: Option<Arc<Authority>>,
    started: Instant,
}

impl StandbyServer {
    /// Serves on sockets that are bound already, until [`Self::stop`].
    pub fn start(listeners: &[Listener], config: StandbyConfig) -> Result<Self, EntranceError> {
        let StandbyConfig { tls, allow_hosts, authority, registry, status } = config;
        let names = Names::new(&addresses(listeners)?, allow_hosts);
        let entrances = Entrance::all(listeners, tls.as_ref(), &registry)?;
        let sockets = listeners.iter().zip(entrances);
        let sockets: Vec<_> = sockets
            .map(|(listener, entrance)| Ok((listener.duplicate()?, entrance)))
            .collect::<io::Result<_>>()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("standby".to_owned()).spawn(move || {
            let standby = Arc::new(Standby { status, names, authority, started: Instant::now() });
            runtime.block_on(async move {
                let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
                for (socket, entrance) in sockets {
                    tokio::spawn(accept(socket, entrance, Arc::clone(&standby), Arc::clone(&places)));
                }
                let _ = stopped.await;
            });
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends all connections. The sockets go on listening.
    pub fn stop(self) {
        let _ = self.stop.send(());
        // A panic of the thread is logged already.
        drop(self.thread.join());
    }
}

async fn accept(socket: Duplicate, entrance: Arc<Entrance>, standby: Arc<Standby>, places: Arc<Semaphore>) {
    match socket {
        Duplicate::Tcp(socket) => {
            let Ok(socket) = TcpListener::from_std(socket) else { return };
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let Ok((stream, peer)) = socket.accept().await else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let (standby, caller) = (Arc::clone(&standby), entrance.tcp_caller(Ok(peer)));
                let tls = entrance.tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => serve(Box::new(stream), caller, standby).await,
                        Some(tls) => {
                            if let Some(accepted) = tls.accept(stream).await {
                                let caller = caller.behind(&accepted, &tls);
                                serve(Box::new(accepted.stream), caller, standby).await;
                            }
                        }
                    }
                    drop(place);
                });
            }
        }
        Duplicate::Unix(socket) => {
            let Ok(socket) = UnixListener::from_std(socket) else { return };
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let accepted = socket.accept().await;
                let Ok((stream, caller)) = accepted.and_then(|(stream, _)| {
                    let caller = entrance.unix_caller(&stream)?;
                    Ok((stream, caller))
                }) else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let standby = Arc::clone(&standby);
                tokio::spawn(async move {
                    serve(Box::new(stream), caller, standby).await;
                    drop(place);
                });
            }
        }
    }
}

async fn serve(stream: Box<dyn ByteStream>, caller: Caller, standby: Arc<Standby>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = standby.answer(&request, &caller);
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let head = Duration::from_secs(HEAD_SECONDS);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head);
    // A connection that breaks is the client's matter.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// A response with a text of a type.
fn text(content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

impl Standby {
    fn answer(&self, request: &Request<Incoming>, caller: &Caller) -> Response<Body> {
        if let Err(problem) = self.names.check(caller.via, request, &RequestHeaders::of(request)) {
            return problem.into_response();
        }
        let status = (self.status)();
        let is_read = [Method::GET, Method::HEAD].contains(request.method());
        match request.uri().path() {
            "/healthz" if is_read => json::ok_json("{\"status\":\"alive\"}".to_owned()),
            "/readyz" => not_primary(&status),
            "/v1/cluster" | "/v1/stats" | "/metrics" if is_read => match self.admit(request, caller) {
                Ok(()) => self.figures(request.uri().path(), &status),
                Err(problem) => problem.into_response(),
            },
            "/" if is_read => {
                let shows_members = self.admit(request, caller).is_ok();
                text("text/html; charset=utf-8", page(&status, shows_members))
            }
            _ => elsewhere(&status, request),
        }
    }

    /// Refuses whom the primary would not let see its figures.
    fn admit(&self, request: &Request<Incoming>, caller: &Caller) -> Result<(), Problem> {
        if !caller.calls.has(Call::Stats) {
            return Err(Problem::not_served_here());
        }
        let given = RequestHeaders::of(request);
        let now = Timestamp::of(SystemTime::now()).unwrap_or(Timestamp::MAX);
        let (authority, now) = (self.authority.as_deref(), (now, monotonic_nanos()));
        let principal = access::principal_of(authority, &caller.known, &given, now)?;
        match principal {
            Some(principal) if !principal.may(Permission::Observe) => Err(Problem::forbidden(format!(
                "The role {} does not see a member's figures: use a token with the role viewer, operator or admin",
                principal.role()
            ))),
            _ => Ok(()),
        }
    }

    fn figures(&self, path: &str, status: &ClusterStatus) -> Response<Body> {
        match path {
            "/v1/cluster" => json::ok_json(of_cluster(status)),
            "/metrics" => text("text/plain; version=0.0.4; charset=utf-8", metrics(status)),
            _ => json::ok_json(format!(
                "{{\"version\":{},\"uptime_seconds\":{},\"state\":\"standby\",\"cluster\":{}}}",
                json::quoted(env!("CARGO_PKG_VERSION")),
                self.started.elapsed().as_secs(),
                of_cluster(status),
            )),
        }
    }
}

fn of_cluster(status: &ClusterStatus) -> String {
    // It has no map with keys that are no text, so this cannot fail.
    serde_json::to_string(status).unwrap_or_default()
}

fn not_primary(status: &ClusterStatus) -> Response<Body> {
    let detail = match &status.primary {
        Some(primary) => format!(
            "This member is a standby: the primary is {}, at {}",
            primary.member, primary.url
        ),
        None => "This member is a standby, and there is no primary at present: try again, or see GET /v1/cluster of \
                 each member"
            .to_owned(),
    };
    Problem::new(Code::NotPrimary, detail).into_response()
}

/// Sends a request to the primary.
fn elsewhere(status: &ClusterStatus, request: &Request<Incoming>) -> Response<Body> {
    let rest = request.uri().path_and_query().map_or("/", |rest| rest.as_str());
    let location = status.primary.as_ref().filter(|primary| primary.member != status.member);
    let location = location.map(|primary| HeaderValue::try_from(format!("{}{rest}", primary.url)));
    match location {
        Some(Ok(location)) => {
            let mut response = not_primary(status);
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            response.headers_mut().remove(hyper::header::RETRY_AFTER);
            response.headers_mut().insert(LOCATION, location);
            response
        }
        _ => not_primary(status),
    }
}

fn metrics(status: &ClusterStatus) -> String {
    let mut text = String::new();
    for (name, help, value) in figures(status) {
        // Writing to a string does not fail.
        let _ =
            write!(text, "# HELP allotd_{name} {help}\n# TYPE allotd_{name} gauge\nallotd_{name} {value}\n");
    }
    text
}

/// A page that says what this member is, and where the primary's page is.
fn page(status: &ClusterStatus, shows_members: bool) -> String {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let primary = match &status.primary {
        Some(primary) => {
            let (url, member) = (escaped(&primary.url), escaped(&primary.member));
            format!("<p>The primary is <a href=\"{url}/\">{member}, at {url}</a>.</p>")
        }
        None => "<p><strong>There is no primary at present.</strong></p>".to_owned(),
    };
    let mut rows = String::new();
    for line in status.members.iter().filter(|_| shows_members) {
        let (member, url) = (escaped(&line.member), escaped(&line.url));
        // Writing to a string does not fail.
        let _ = write!(
            rows,
            "<tr><td>{member}</td><td>{url}</td><td>{}</td><td>{}</td></tr>",
            line.position, line.lag
        );
    }
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <title>allotd: standby</title><style>body{{font:16px system-ui;margin:2rem;max-width:50rem}}\
         td,th{{padding:.3rem 1rem .3rem 0;text-align:left}}</style>\
         <h1>{} is a standby of {}</h1>{primary}\
         <table><tr><th>Member</th><th>URL</th><th>Position</th><th>Behind</th></tr>{rows}</table></html>",
        escaped(&status.member),
        escaped(&status.cluster),
    )
}
