//! Header fields between two connections.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

/// Removes what concerns only the one connection (RFC 9110, section 7.6.1).
///
/// A field that the guard judged by, or that the node judges by, is not removed even if `Connection` names it: by that
/// a client could make the node see another request than the guard saw.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most messages have none of them, and looking costs less than removing.
    if !headers.keys().any(|name| *name == header::CONNECTION || HOP_BY_HOP.contains(name)) {
        return;
    }
    let values: Vec<HeaderValue> = headers.get_all(header::CONNECTION).iter().cloned().collect();
    headers.remove(header::CONNECTION);
    let names = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    for name in names.filter_map(|name| HeaderName::try_from(name.trim()).ok()) {
        if !is_end_to_end(name.as_str()) {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Joins the fields into which HTTP/2 may have split the cookies (RFC 9113, section 8.2.3). Before that version a
/// server may read only the first.
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

const HOP_BY_HOP: [HeaderName; 8] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Whether a field is meant for the one at the other end, whatever `Connection` says.
fn is_end_to_end(name: &str) -> bool {
    END_TO_END.contains(&name) || END_TO_END_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

const END_TO_END: [&str; 12] = [
    "authorization",
    "baggage",
    "cookie",
    "forwarded",
    "host",
    "last-event-id",
    "origin",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-real-ip",
    "x-request-id",
];

const END_TO_END_PREFIXES: [&str; 5] = ["accept", "content-", "mcp-", "sec-", "x-forwarded-"];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn what_any_connection_field_names_concerns_only_the_one_connection() {
        let mut fields = headers(&[("connection", "close, one"), ("connection", "two"), ("one", "1"), ("two", "2")]);
        strip_hop_by_hop(&mut fields);
        assert!(fields.is_empty(), "{fields:?}");
    }

    #[test]
    fn a_client_cannot_take_away_what_was_judged() {
        let judged = [
            ("mcp-session-id", "s"),
            ("authorization", "a"),
            ("content-type", "application/json"),
            ("accept", "*/*"),
            ("host", "h"),
            ("origin", "o"),
            ("x-forwarded-for", "::1"),
        ];
        let mut fields = headers(&judged);
        for (name, _) in judged {
            fields.append(header::CONNECTION, HeaderValue::from_static(name));
        }
        strip_hop_by_hop(&mut fields);
        assert_eq!(fields, headers(&judged));
    }

    #[test]
    fn cookies_that_came_apart_go_on_as_one() {
        let mut fields = headers(&[("cookie", "a=1"), ("cookie", "b=2")]);
        join_cookies(&mut fields);
        assert_eq!(fields, headers(&[("cookie", "a=1; b=2")]));
    }
}
