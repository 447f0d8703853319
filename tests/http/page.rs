//! The operators' page over HTTP: its files, their headers, and answers to what a browser has already.

use std::io::Write;

use crate::support::{Answer, Server, read_answer};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn get(server: &Server, path: &str, header: &str) -> Answer {
    let mut connection = server.connect();
    write!(connection.get_mut(), "GET {path} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n").unwrap();
    read_answer(&mut connection, header.starts_with("if-none-match"))
}

/// The paths that a file names after `before`.
fn named(text: &str, before: &str) -> Vec<String> {
    let parts = text.split(before).skip(1);
    parts.map(|part| part.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn every_file_comes_with_its_type_and_the_policy() {
    let server = Server::start();
    let page = get(&server, "/", "");
    let mut paths = named(&page.body, "=\"/page/");
    paths.extend(named(&get(&server, "/page/page.js", "").body, "from \"./"));
    assert!(paths.len() > 12, "{paths:?}");
    for path in std::iter::once("/".to_owned()).chain(paths.iter().map(|path| format!("/page/{path}"))) {
        let answer = get(&server, &path, "");
        assert_eq!(answer.status, 200, "{path}");
        let kind = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        assert_eq!(answer.header("content-security-policy"), Some(POLICY), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        for elsewhere in ["src=\"http", "href=\"http", "import(", "@import", "url(", "style=\""] {
            assert!(path.contains("uplot") || !answer.body.contains(elsewhere), "{path}: {elsewhere}");
        }
    }
    let head = server.call("HEAD", "/");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some(page.body.len().to_string().as_str()));
}

#[test]
fn a_browser_that_has_a_file_gets_it_once() {
    let server = Server::start();
    let tag = get(&server, "/page/page.css", "").header("etag").unwrap().to_owned();
    assert!(tag.starts_with(&format!("\"{}-", env!("CARGO_PKG_VERSION"))), "{tag}");
    let again = get(&server, "/page/page.css", &format!("if-none-match: {tag}\r\n"));
    assert_eq!((again.status, again.header("etag")), (304, Some(tag.as_str())));
    assert_eq!(again.header("cache-control"), Some("no-cache"));
    assert_eq!(get(&server, "/page/page.css", "accept: */*\r\n").status, 200);
}
