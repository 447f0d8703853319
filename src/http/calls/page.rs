//! `GET /`: the operators' page. Its files are part of the program.
//!
//! The page is the files in `src/http/page/`, unprocessed: HTML, a style sheet, ES modules and one chart
//! library. It calls this API like any other client and has no call of its own. It loads nothing from
//! elsewhere, and its content security policy makes the browser refuse to load or run anything else.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Request, Response, StatusCode};

use crate::http::actor::Actor;
use crate::http::calls::{Api, Handled, Reply, query_of};
use crate::http::request::query;
use crate::http::response::body::Body;
use crate::http::response::problem::Problem;

/// The path of the files; the page itself is at `/`.
const FILES_PATH: &str = "/page/";
/// Largest total size of the files, in bytes.
#[cfg(test)]
const MAX_PAGE_BYTES: usize = 200_000;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const ICON: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// Headers of every response.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    // The browser asks each time and nearly always gets 304: the files change only with the program.
    (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// A file of the page.
struct File {
    /// Relative to [`FILES_PATH`]; empty for the page itself.
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($kind:ident $path:literal,)*) => {
        &[
            File { path: "", kind: HTML, bytes: include_bytes!("../page/index.html") },
            $(File { path: $path, kind: $kind, bytes: include_bytes!(concat!("../page/", $path)) },)*
        ]
    };
}

const FILES: &[File] = files! {
    STYLE "page.css",
    ICON "icon.svg",
    SCRIPT "page.js",
    SCRIPT "actions.js",
    SCRIPT "api.js",
    SCRIPT "changes.js",
    SCRIPT "charts.js",
    SCRIPT "daemon.js",
    SCRIPT "dialog.js",
    SCRIPT "dom.js",
    SCRIPT "events.js",
    SCRIPT "export.js",
    SCRIPT "format.js",
    SCRIPT "history.js",
    SCRIPT "hours.js",
    SCRIPT "lists.js",
    SCRIPT "lookup.js",
    SCRIPT "map.js",
    SCRIPT "pool.js",
    SCRIPT "pools.js",
    SCRIPT "preview.js",
    SCRIPT "refusals.js",
    SCRIPT "settings.js",
    SCRIPT "states.js",
    SCRIPT "status.js",
    SCRIPT "token.js",
    SCRIPT "uplot/uPlot.iife.min.js",
    STYLE "uplot/uPlot.min.css",
    TEXT "uplot/LICENSE",
};

/// The entity tags of [`FILES`], in their order: version and checksum.
static TAGS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
    let tag = |file: &File| {
        let text = format!("\"{}-{:08x}\"", env!("CARGO_PKG_VERSION"), crc32c::crc32c(file.bytes));
        HeaderValue::try_from(text).expect("digits, letters and quotes are allowed in a header")
    };
    FILES.iter().map(tag).collect()
});

/// `GET /`
pub(crate) fn index(_api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    Ok(show("", request.headers())?.into())
}

/// `GET /page/{file}`
pub(crate) fn file(_api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let path = request.uri().path().strip_prefix(FILES_PATH).filter(|path| !path.is_empty());
    Ok(show(path.ok_or_else(Problem::not_found)?, request.headers())?.into())
}

/// The page itself (an empty `path`), or one of its files.
fn show(path: &str, headers: &HeaderMap) -> Reply {
    let found = FILES.iter().zip(&*TAGS).find(|(file, _)| file.path == path);
    let (file, tag) = found.ok_or_else(Problem::not_found)?;
    let known = headers.get_all(IF_NONE_MATCH).iter().any(|value| lists(value.as_bytes(), tag.as_bytes()));
    let body = if known { Bytes::new() } else { Bytes::from_static(file.bytes) };
    let mut response = Response::new(Body::from(body));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let answered = response.headers_mut();
    answered.extend(HEADERS);
    answered.insert(CONTENT_TYPE, HeaderValue::from_static(file.kind));
    answered.insert(ETAG, tag.clone());
    Ok(response)
}

/// Whether a list of tags, which may be weak, contains this one.
fn lists(value: &[u8], tag: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|given| {
        let given = given.trim_ascii();
        given == b"*" || given.strip_prefix(b"W/").unwrap_or(given) == tag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        let file = FILES.iter().find(|file| file.path == path).unwrap();
        std::str::from_utf8(file.bytes).unwrap()
    }

    #[test]
    fn the_page_is_small() {
        let bytes: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        assert!(bytes < MAX_PAGE_BYTES, "{bytes} bytes");
    }

    #[test]
    fn every_file_that_is_there_is_served() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/page");
        let count = |path| {
            let entries = std::fs::read_dir(path).unwrap();
            entries.filter(|entry| entry.as_ref().unwrap().path().is_file()).count()
        };
        assert_eq!(count(directory.clone()) + count(directory.join("uplot")), FILES.len());
    }

    #[test]
    fn what_the_page_and_its_modules_load_is_served() {
        let quoted = |path| text(path).split(['"', '\'']).skip(1).step_by(2);
        let own = quoted("").filter_map(|word| word.strip_prefix(FILES_PATH));
        let scripts = FILES.iter().filter(|file| file.kind == SCRIPT && !file.path.contains('/'));
        let imported = scripts
            .flat_map(|file| text(file.path).lines())
            .filter_map(|line| line.split_once(" from \"./").and_then(|(_, rest)| rest.split_once('"')))
            .map(|(path, _)| path);
        let loaded: Vec<_> = own.chain(imported).collect();
        assert!(loaded.contains(&"page.js") && loaded.contains(&"format.js"), "{loaded:?}");
        for path in loaded {
            assert!(FILES.iter().any(|file| file.path == path), "{path}");
        }
    }

    #[test]
    fn a_tag_that_is_known_is_answered_without_the_file() {
        let first = show("page.js", &HeaderMap::new()).unwrap();
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[ETAG].to_str().unwrap();
        for (given, status) in [
            (tag.to_owned(), 304),
            (format!("\"x\", W/{tag}"), 304),
            ("*".to_owned(), 304),
            ("\"x\"".to_owned(), 200),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, given.parse().unwrap());
            assert_eq!(show("page.js", &headers).unwrap().status(), status, "{given}");
        }
        assert!(show("../page.rs", &HeaderMap::new()).is_err());
    }
}
