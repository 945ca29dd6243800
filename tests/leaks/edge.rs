//! What is refused by the request alone, head and body.

use mcp_guard::refusal::Reason;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Reply, raw};
use serde_json::{Value, json};

use crate::planted::Planted;
use crate::scene::Scene;
use crate::secret::Secret;
use crate::{assert_all, in_both};

pub(crate) const REASONS: &[Reason] = &[
    Reason::ParseError,
    Reason::InvalidRequest,
    Reason::InvalidParams,
    Reason::MethodNotFound,
    Reason::InvalidArguments,
    Reason::HeaderMismatch,
    Reason::UnsupportedVersion,
    Reason::PayloadTooLarge,
    Reason::UnsupportedMediaType,
    Reason::NotAcceptable,
    Reason::InvalidHeader,
    Reason::HeadersTooLarge,
    Reason::NotFound,
    Reason::MethodNotAllowed,
    Reason::RequestTimeout,
    Reason::OriginNotAllowed,
    Reason::HostNotAllowed,
];

/// A request, and what differs in it from an ordinary one.
struct Asked {
    line: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Asked {
    fn new(planted: &Planted, body: impl Into<String>) -> Self {
        let line = format!("POST /mcp?token={} HTTP/1.1", planted.query.text());
        let plain = [
            ("host", "localhost"),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2025-11-25"),
            ("mcp-session-id", &planted.session.text()),
        ]
        .map(|(name, value)| (name, value.to_owned()));
        Self { line, headers: [plain.to_vec(), planted.headers()].concat(), body: body.into() }
    }

    fn line(mut self, line: impl Into<String>) -> Self {
        self.line = line.into();
        self
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.into()));
        self
    }

    /// As it is sent, with a body that is longer by so many bytes, which do not come.
    fn bytes(&self, missing: usize) -> Vec<u8> {
        let fields: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = self.body.len() + missing;
        format!("{}\r\n{fields}connection: close\r\ncontent-length: {length}\r\n\r\n{}", self.line, self.body)
            .into_bytes()
    }

    #[track_caller]
    fn comes_back(self, scene: &mut Scene, reason: &str) {
        self.comes_back_short(scene, 0, reason);
    }

    #[track_caller]
    fn comes_back_short(self, scene: &mut Scene, missing: usize, reason: &str) {
        let reply: Reply = raw(scene.guard.listen, &self.bytes(missing)).expect("an answer");
        // An id is no secret, and all of the request that is sent back.
        let id = &reply.json()["id"];
        assert!(id.is_null() || *id == 7, "{id}");
        scene.refused(&reply, reason);
    }
}

#[test]
fn what_is_wrong_with_a_request_is_told_without_what_is_in_it() {
    in_both(|log| {
        let upstream = Upstream::start();
        let limits = json!({"body": "16KiB", "body_timeout": "500ms"});
        let config = json!({"upstreams": [{"url": upstream.url()}], "guard": {"limits": limits, "rate_limits": []}});
        let mut scene = Scene::start(log, config);
        let planted = Planted::new();
        let own = Secret::new("what is wrong itself");
        wrong_bodies(&mut scene, &planted, &own.prose());
        wrong_heads(&mut scene, &planted, &own.text());
        wrong_meaning(&mut scene, &planted, &own.text());
        assert_eq!(upstream.calls(), 0);
        assert_all(scene.end(&[planted.all(), vec![own]].concat()), REASONS);
    });
}

fn wrong_bodies(scene: &mut Scene, planted: &Planted, own: &str) {
    let good = planted.call(7, "echo").to_string();
    let asked = |body: String| Asked::new(planted, body);
    let (key, value) = (json!(own), json!(own));
    asked(good[..good.len() - 9].to_owned()).comes_back(scene, "parse_error");
    asked(format!("{{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":{value} {value}}}")).comes_back(scene, "parse_error");
    asked(format!("{good}{value}")).comes_back(scene, "parse_error");
    asked(format!("{}{value}{}", "[".repeat(300), "]".repeat(300))).comes_back(scene, "parse_error");
    asked(format!("{{\"id\":{{{key}:{value}}},\"method\":\"ping\",\"jsonrpc\":\"2.0\"}}"))
        .comes_back(scene, "invalid_request");
    asked(good.replace("\"id\":7", &format!("\"id\":7,\"id\":{value}"))).comes_back(scene, "invalid_request");
    asked(good.replace("\"method\"", &format!("\"method\":{value},\"method\""))).comes_back(scene, "invalid_request");
    asked(format!("[{good},{value}]")).comes_back(scene, "invalid_request");
    asked(format!("{good}{}", value.to_string().repeat(500))).comes_back(scene, "payload_too_large");
    asked(good).comes_back_short(scene, 9, "request_timeout");
}

fn wrong_heads(scene: &mut Scene, planted: &Planted, own: &str) {
    let asked = || Asked::new(planted, planted.call(7, "echo").to_string());
    asked().line(format!("POST /other/{own}?token={own} HTTP/1.1")).comes_back(scene, "not_found");
    asked().line(format!("PUT /mcp?token={own} HTTP/1.1")).comes_back(scene, "method_not_allowed");
    asked().header("content-type", format!("text/{own}; a={own}")).comes_back(scene, "unsupported_media_type");
    asked().header("content-encoding", own).comes_back(scene, "unsupported_media_type");
    asked().header("accept", format!("text/{own}")).comes_back(scene, "not_acceptable");
    asked().header("origin", format!("https://{own}.example")).comes_back(scene, "origin_not_allowed");
    asked().header("host", format!("{own}.example")).comes_back(scene, "host_not_allowed");
    asked().header("mcp-session-id", format!("{own} {own}")).comes_back(scene, "invalid_header");
    asked().header(" x", own).comes_back(scene, "invalid_header");
    asked().line(format!("POST http://me:{own}@[{own}/mcp HTTP/1.1")).comes_back(scene, "invalid_header");
    asked().header("x-large", own.repeat(600)).comes_back(scene, "headers_too_large");
    asked().header("mcp-protocol-version", "1999-01-01").comes_back(scene, "unsupported_version");
    // No HTTP at all.
    if let Some(reply) = raw(scene.guard.listen, format!("{own}\r\n\r\n").as_bytes()) {
        scene.refused(&reply, "invalid_header");
    }
}

fn wrong_meaning(scene: &mut Scene, planted: &Planted, own: &str) {
    let call = planted.call(7, "echo");
    let mut wrong = call.clone();
    wrong["params"]["name"] = json!({own: own});
    Asked::new(planted, wrong.to_string()).comes_back(scene, "invalid_params");
    for revision in ["2025-06-18", "2025-11-25"] {
        let mut wrong = planted.call(7, "add");
        wrong["params"]["arguments"]["a"] = own.into();
        Asked::new(planted, wrong.to_string())
            .header("mcp-protocol-version", revision)
            .comes_back(scene, "invalid_arguments");
    }
    let stateless = |method: &str| {
        let mut call = call.clone();
        call["method"] = method.into();
        let meta = &mut call["params"]["_meta"];
        meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({"experimental": {own: {own: own}}});
        let asked = Asked::new(planted, Value::to_string(&call));
        asked.header("mcp-protocol-version", "2026-07-28").header("mcp-method", method)
    };
    stateless("tools/call").header("mcp-name", own).comes_back(scene, "header_mismatch");
    stateless("ping").comes_back(scene, "method_not_found");
}
