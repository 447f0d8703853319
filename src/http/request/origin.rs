//! Refuses requests that foreign web pages make through a browser, by their names and origins.
//!
//! Any web page can make a person's browser send requests to addresses that only this person can reach,
//! and a lease is a plain `POST`. Two headers reveal such a page, and a page cannot change either:
//! `Origin` says where the page is from, and `Host` names the server that it means to reach. A page that
//! points its own domain at the daemon's address (DNS rebinding) has an `Origin` that matches its `Host`,
//! but its domain is not a name of the daemon. Services and curl send no `Origin`, and a `Host` with the
//! name by which they reach the daemon.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use hyper::header::HeaderValue;
use hyper::{Method, Request, Version};
use thiserror::Error;

use crate::http::address::ListenAddress;
use crate::http::response::code::Code;
use crate::http::response::problem::Problem;

use super::headers::RequestHeaders;

/// Longest name of a host, in bytes.
const MAX_NAME_BYTES: usize = 253;
/// How much of a refused header is repeated to the caller, in characters.
const MAX_ECHO_CHARS: usize = 100;

/// A name under which the daemon is reached: `NAME`, with any port, or `NAME:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    /// In lower case; an IPv6 address in brackets.
    host: String,
    /// `None` for any port.
    port: Option<u16>,
}

/// Text that is not a name.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "--allow-host is \"{0}\": give a name as it is written in URLs, such as allotd.example.org or allotd:7979"
)]
pub struct AllowedHostError(String);

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, AllowedHostError> {
        let refused = || AllowedHostError(text.to_owned());
        let (host, port) = split_port(text);
        let port = port.map(|port| port.parse().map_err(|_| refused())).transpose()?;
        let is_name = !host.is_empty()
            && host.len() <= MAX_NAME_BYTES
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !is_name && literal_ip(host).is_none() {
            return Err(refused());
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => f.write_str(&self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
        }
    }
}

impl AllowedHost {
    fn any_port(host: impl Into<String>) -> Self {
        Self { host: host.into(), port: None }
    }

    fn fits(&self, host: &str, port: Option<&str>) -> bool {
        self.host.eq_ignore_ascii_case(host)
            && self.port.is_none_or(|own| port.is_some_and(|given| given.parse() == Ok(own)))
    }
}

/// The kind of socket that a request arrived on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// TCP, in plain text.
    Tcp,
    /// TCP, by TLS.
    Tls,
    /// A socket file, which no browser can reach on its own.
    Unix,
}

/// The names of the daemon.
#[derive(Debug)]
pub(crate) struct Names {
    /// The addresses themselves, as most requests have them, byte for byte.
    usual: Vec<Box<[u8]>>,
    /// Names that follow from the addresses, with any port: tunnels and containers change the port, and the
    /// domain of a foreign page is foreign with every port.
    own: Vec<AllowedHost>,
    /// Names that the operator configured.
    allowed: Vec<AllowedHost>,
    /// Whether any IP address is a name, because the daemon listens on all of them. An address needs no DNS,
    /// so it cannot come from DNS rebinding.
    any_ip: bool,
}

impl Names {
    /// The names of a daemon that listens on `addresses`, and the names in `allowed`.
    pub(crate) fn new(addresses: &[ListenAddress], allowed: Vec<AllowedHost>) -> Self {
        let mut names = Self { usual: Vec::new(), own: Vec::new(), allowed, any_ip: false };
        for address in addresses {
            let ListenAddress::Tcp(address) = address else { continue };
            let ip = address.ip().to_canonical();
            names.any_ip |= ip.is_unspecified();
            names.usual.push(address.to_string().into_bytes().into());
            names.own.push(AllowedHost::any_port(bracketed(ip)));
            if ip.is_loopback() || ip.is_unspecified() {
                names.usual.push(format!("localhost:{}", address.port()).into_bytes().into());
                names.usual.push((*b"localhost").into());
                names.own.extend(["localhost", "127.0.0.1", "[::1]"].map(AllowedHost::any_port));
            }
        }
        names
    }

    /// Refuses requests of foreign web pages. A service's request costs one comparison.
    #[inline]
    pub(crate) fn check<B>(
        &self,
        via: Via,
        request: &Request<B>,
        given: &RequestHeaders<'_>,
    ) -> Result<(), Problem> {
        if let (None, None, 1, Via::Tcp | Via::Tls, Some(host)) =
            (given.origin, given.site, given.hosts, via, given.host)
            && self.usual.iter().any(|usual| **usual == *host.as_bytes())
            && request.uri().authority().is_none()
        {
            return Ok(());
        }
        self.check_all(via, request, given)
    }

    #[cold]
    fn check_all<B>(
        &self,
        via: Via,
        request: &Request<B>,
        given: &RequestHeaders<'_>,
    ) -> Result<(), Problem> {
        if given.hosts > 1 {
            return Err(Problem::bad_request("There are several Host headers: send one"));
        }
        if let Some(scheme) = request.uri().scheme_str()
            && !["http", "https"].contains(&scheme)
        {
            return Err(Problem::bad_request("The scheme is not known here: send http or https"));
        }
        // HTTP/2, and a request to a proxy, name the host in the request itself.
        if let (Some(authority), Some(host)) = (request.uri().authority(), given.host)
            && !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
        {
            return Err(Problem::bad_request(
                "The request names one host in its target (:authority) and another in its Host header: send the \
                 same in both",
            ));
        }
        let host = match (request.uri().authority(), given.host) {
            (Some(authority), _) => Some(authority.as_str()),
            (None, Some(value)) => Some(value.to_str().unwrap_or_default()),
            (None, None) => None,
        };
        match host {
            // No browser leaves `Host` out; HTTP/1.0 allows it.
            None if via != Via::Unix && request.version() > Version::HTTP_10 => {
                return Err(Problem::bad_request("The Host header is missing: send it, or use HTTP/1.0"));
            }
            Some(host) if via != Via::Unix && !self.has(host) && !is_probe(request) => {
                return Err(forbidden_host(host));
            }
            _ => (),
        }
        if let Some(origin) = given.origin
            && !self.is_own_origin(via, origin, host)
        {
            return Err(forbidden_origin(&String::from_utf8_lossy(origin.as_bytes())));
        }
        let foreign = given.site.is_some_and(|site| site.as_bytes() == b"cross-site");
        // A foreign page may link to the operators' page; it has no other use of the daemon.
        if foreign && !(*request.method() == Method::GET && request.uri().path() == "/") {
            return Err(forbidden_origin("another site"));
        }
        Ok(())
    }

    /// Whether this is a name of the daemon, with or without a port.
    fn has(&self, authority: &str) -> bool {
        let (host, port) = split_port(authority);
        let known = self.own.iter().chain(&self.allowed).any(|name| name.fits(host, port))
            || (self.any_ip && literal_ip(host).is_some());
        known && port.is_none_or(|port| port.parse::<u16>().is_ok())
    }

    /// Whether a page of this origin is the daemon's own: the origin matches the `Host`, which is one of the
    /// daemon's names, or it is a name that the operator configured (a proxy may send another `Host`).
    /// By TLS it is an `https` origin: whoever is on the way can pass for the same name in plain text.
    fn is_own_origin(&self, via: Via, origin: &HeaderValue, host: Option<&str>) -> bool {
        let text = origin.to_str().unwrap_or_default();
        let plain = text.strip_prefix("http://").filter(|_| via != Via::Tls);
        let Some(authority) = plain.or_else(|| text.strip_prefix("https://")) else {
            return false;
        };
        let asked = host.is_some_and(|host| host.eq_ignore_ascii_case(authority)) && self.has(authority);
        let (host, port) = split_port(authority);
        let port = port.map(str::parse::<u16>);
        let given = |name: &AllowedHost| {
            name.host.eq_ignore_ascii_case(host) && name.port == port.clone().and_then(Result::ok)
        };
        asked || self.allowed.iter().any(given)
    }
}

/// Whether the request is a health probe. Probes name the address of a container or another name that is
/// unknown here, and the response reveals nothing.
pub(crate) fn is_probe<B>(request: &Request<B>) -> bool {
    matches!(request.uri().path(), "/healthz" | "/readyz")
        && (*request.method() == Method::GET || *request.method() == Method::HEAD)
}

/// Splits `host:port`.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // In a bare `[::1]` the last colon is within the brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// The IP address that a host is, if it is one.
fn literal_ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok().filter(IpAddr::is_ipv4),
    }
}

/// An address as it is written in a URL.
fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

fn forbidden_host(host: &str) -> Problem {
    let host = short(host);
    Problem::new(
        Code::Forbidden,
        format!(
            "\"{host}\" is not a name of this server: use its address, or start it with --allow-host and \
             this name"
        ),
    )
}

fn forbidden_origin(origin: &str) -> Problem {
    let origin = short(origin);
    Problem::new(
        Code::Forbidden,
        format!(
            "This request comes from a web page of {origin}, which is not this server: open the server's own \
             page, or start it with --allow-host if this is one of its names"
        ),
    )
}

/// The part of a header that is repeated to the caller.
fn short(text: &str) -> &str {
    text.char_indices().nth(MAX_ECHO_CHARS).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listen: &[&str], allowed: &[&str]) -> Names {
        let addresses: Vec<_> = listen.iter().map(|text| text.parse().unwrap()).collect();
        Names::new(&addresses, allowed.iter().map(|text| text.parse().unwrap()).collect())
    }

    /// Whether a lease with these headers is let through.
    fn passes(names: &Names, via: Via, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::post("/v1/pools/ru/lease");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        names.check(via, &request, &RequestHeaders::of(&request)).is_ok()
    }

    #[test]
    fn names_come_of_the_addresses() {
        let local = names(&["127.0.0.1:7979", "unix:/s"], &[]);
        let public = names(&["192.0.2.1:80"], &[]);
        let all = names(&["[::]:7979"], &["allotd", "Proxy.example:8443"]);
        for (names, host, own) in [
            (&local, "127.0.0.1:7979", true),
            (&local, "localhost:7979", true),
            (&local, "LocalHost", true),
            (&local, "localhost:9000", true),
            (&local, "[::1]:7979", true),
            (&local, "127.0.0.1.evil.test:7979", false),
            (&local, "127.0.0.1:7979.evil.test", false),
            (&local, "localhost:", false),
            (&local, "evil.test:7979", false),
            (&local, "192.0.2.1:7979", false),
            (&local, "", false),
            (&local, "user@localhost", false),
            (&public, "192.0.2.1", true),
            (&public, "192.0.2.2", false),
            (&public, "localhost", false),
            (&all, "192.0.2.2:7979", true),
            (&all, "[2001:db8::1]", true),
            (&all, "2001:db8::1", false),
            (&all, "192.0.2.2:x", false),
            (&all, "allotd:1", true),
            (&all, "proxy.example:8443", true),
            (&all, "proxy.example", false),
            (&all, "proxy.example:84430", false),
            (&all, "evil.test", false),
        ] {
            assert_eq!(passes(names, Via::Tcp, &[("host", host)]), own, "{host} of {names:?}");
            assert_eq!(passes(names, Via::Tls, &[("host", host)]), own, "{host} of {names:?}");
            assert!(passes(names, Via::Unix, &[("host", host)]), "{host}");
        }
    }

    #[test]
    fn an_origin_is_the_host_itself_or_a_name_that_was_given() {
        let names = names(&["127.0.0.1:7979"], &["allotd.example", "tunnel:81"]);
        for (host, origin, own) in [
            ("localhost:7979", "http://localhost:7979", true),
            ("localhost:7979", "http://127.0.0.1:7979", false),
            ("localhost:7979", "http://localhost:3000", false),
            ("localhost:7979", "http://localhost", false),
            ("localhost:7979", "null", false),
            ("localhost:7979", "", false),
            ("localhost:7979", "file://", false),
            ("localhost:7979", "http://evil.test", false),
            ("127.0.0.1:7979", "https://allotd.example", true),
            ("127.0.0.1:7979", "https://allotd.example:444", false),
            ("allotd.example:444", "https://allotd.example:444", true),
            ("127.0.0.1:7979", "http://tunnel:81", true),
            ("127.0.0.1:7979", "http://tunnel:x", false),
            ("127.0.0.1:7979", "http://tunnel", false),
        ] {
            let headers = [("host", host), ("origin", origin)];
            assert_eq!(passes(&names, Via::Tcp, &headers), own, "{host} {origin}");
            assert_eq!(passes(&names, Via::Unix, &headers), own, "{host} {origin}");
            let by_tls = own && origin.starts_with("https");
            assert_eq!(passes(&names, Via::Tls, &headers), by_tls, "{host} {origin}");
        }
        assert!(!passes(&names, Via::Unix, &[("host", "evil.test"), ("origin", "http://evil.test")]));
    }

    #[test]
    fn a_target_with_another_host_or_scheme_is_refused() {
        let names = names(&["127.0.0.1:7979"], &[]);
        for (target, host, fits) in [
            ("http://localhost:7979/v1/pools", "localhost:7979", true),
            ("https://LOCALHOST/v1/pools", "localhost", true),
            ("http://localhost:7979/v1/pools", "localhost", false),
            ("http://localhost/v1/pools", "127.0.0.1", false),
            ("http://evil.test/v1/pools", "localhost", false),
            ("ftp://localhost/v1/pools", "localhost", false),
        ] {
            let request = Request::get(target).header("host", host).body(()).unwrap();
            for via in [Via::Tcp, Via::Unix] {
                assert_eq!(
                    names.check(via, &request, &RequestHeaders::of(&request)).is_ok(),
                    fits,
                    "{target} {host}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "http://a", "a/b", "a b", "a:x", "a:70000", "*", "::1", "a:80:80", "[::1"] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
        for text in ["a", "a.b:1", "[::1]:80", "[::1]", "192.0.2.1"] {
            assert_eq!(text.parse::<AllowedHost>().unwrap().to_string(), text);
        }
    }
}
