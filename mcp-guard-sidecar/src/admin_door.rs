//! Keeps web pages out of the admin endpoints, which have no credentials.
//!
//! A page in a browser that can reach them could `POST /drain` without asking (a "simple" request), and one whose own
//! name is pointed here (DNS rebinding) could read everything. The first gives itself away by `Origin`, which browsers
//! send and no probe or scraper does, the second by the name in `Host`.

use std::net::IpAddr;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{HeaderMap, Uri, header};
use mcp_guard::refusal::{Reason, Refusal};

use crate::refused;

/// Answers only what no web page can have sent.
pub(crate) async fn admit(request: Request, next: Next) -> Response {
    match refusal(request.uri(), request.headers()) {
        Some(refusal) => refused::response(&refusal).into_response(),
        None => next.run(request).await,
    }
}

fn refusal(uri: &Uri, headers: &HeaderMap) -> Option<Refusal> {
    if headers.contains_key(header::ORIGIN) {
        return Some(Refusal::new(Reason::OriginNotAllowed, "no web page may ask here"));
    }
    let named = headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let mut hosts = named.chain(uri.authority().map(Authority::as_str));
    // Without any name, as an HTTP/1.0 probe has it, it is no browser.
    if hosts.all(is_here) {
        return None;
    }
    Some(Refusal::new(Reason::HostNotAllowed, "use the address, `localhost`, or a name inside of the cluster"))
}

/// Whether `host` is an address or a name that nobody can own on the internet: then no page was loaded from it.
fn is_here(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().to_ascii_lowercase();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    !authority.as_str().contains('@')
        && (address.parse::<IpAddr>().is_ok()
            || !name.contains('.')
            || PRIVATE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)))
}

/// Kubernetes' names of services, by which Prometheus may come, and the names of this machine.
const PRIVATE_SUFFIXES: [&str; 3] = [".svc", ".cluster.local", ".localhost"];

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &'static str) -> Option<Reason> {
        let headers = HeaderMap::from_iter([(header::HOST, http::HeaderValue::from_static(text))]);
        refusal(&Uri::from_static("/config"), &headers).map(|refusal| refusal.reason())
    }

    #[test]
    fn addresses_and_names_inside_are_admitted() {
        for text in ["127.0.0.1:9901", "10.1.2.3", "[::1]:9901", "localhost:9901", "guard:9901", "guard.ns.svc:9901"] {
            assert_eq!(host(text), None, "{text}");
        }
        assert_eq!(refusal(&Uri::from_static("/livez"), &HeaderMap::new()), None);
    }

    #[test]
    fn names_that_somebody_may_own_are_refused() {
        for text in [
            "evil.example",
            "127.0.0.1.evil.example:9901",
            "localhost.evil.example",
            "a@localhost",
            "",
            "evil.example.",
        ] {
            assert_eq!(host(text), Some(Reason::HostNotAllowed), "{text}");
        }
        let uri = Uri::from_static("http://evil.example/config");
        assert!(refusal(&uri, &HeaderMap::new()).is_some(), "the target's name counts too");
    }

    #[test]
    fn a_page_of_any_origin_is_refused() {
        let headers = HeaderMap::from_iter([(header::ORIGIN, http::HeaderValue::from_static("null"))]);
        let refused = refusal(&Uri::from_static("/drain"), &headers).map(|refusal| refusal.reason());
        assert_eq!(refused, Some(Reason::OriginNotAllowed));
    }
}
