//! A clock on the wall that jumps, by libfaketime in the guard alone. What the guard waits for, it waits for by a clock that
//! does not jump.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mcp_guard_tests::certificates::Authority;
use mcp_guard_tests::peers::skip_unless;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, Reply, Wire, call_tool, patiently, post, send_to};
use serde_json::{Value, json};

use crate::resources::starter;
use crate::{assert_refused, assert_settled, call, config};

const TOO_LATE: &str = "+400d";
const TOO_EARLY: &str = "-400d";

/// A guard whose clock on the wall a test moves.
struct Shifted {
    guard: Guard,
    folder: tempfile::TempDir,
}

impl Shifted {
    /// `None`, with a word, where there is no libfaketime.
    fn start(yaml: &str) -> Option<Self> {
        // Where Debian has it.
        let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
        if !skip_unless(Path::new(&library).exists(), "libfaketime is installed (Debian: faketime)") {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let file = shift_file(folder.path());
        fs::write(&file, "+0").expect("it is written");
        let faked = [
            format!("export LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={}", file.display()),
            "export FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
        ];
        let guard = Guard::with_config(&starter(folder.path(), &faked.join("\n"), ""), yaml);
        Some(Self { guard, folder })
    }

    /// Moves the clock, and waits until what `asked` gets has another day or hour on it.
    fn jump(&self, shift: &str, asked: impl Fn() -> Reply) {
        let hour = || asked().header("date").and_then(|date| date.split(':').next().map(str::to_owned));
        let before = hour();
        let aside = self.folder.path().join("aside");
        fs::write(&aside, shift).expect("it is written");
        fs::rename(aside, shift_file(self.folder.path())).expect("it is replaced");
        patiently("the clock has jumped", || hour() != before);
    }

    /// An answer of the guard's own, that no rule is about.
    fn nothing(&self) -> Reply {
        send_to(self.guard.listen, "GET", "/elsewhere", &[], "")
    }
}

fn shift_file(folder: &Path) -> PathBuf {
    folder.join("shift")
}

#[test]
fn a_call_has_neither_more_time_nor_less_when_the_clock_jumps() {
    let node = Upstream::start();
    let upstream = json!({"url": node.url(), "timeouts": {"first_byte": "5s"}});
    let Some(shifted) = Shifted::start(&config(upstream, &json!({}))) else { return };
    let guard = &shifted.guard;
    for (round, shift) in (1..).zip([TOO_LATE, TOO_EARLY]) {
        let [mut answered, mut given_up] = [(); 2].map(|()| Wire::connect(guard.listen));
        answered.write(post(guard.listen, &[], call_tool(7, "hold", json!({})).to_string()));
        patiently("a call is with the node", || node.calls() == 2 * round - 1);
        shifted.jump(shift, || shifted.nothing());
        node.release(1);
        assert_eq!(answered.message().status, 200, "its time was not over");
        given_up.write(post(guard.listen, &[], call_tool(7, "hold", json!({})).to_string()));
        assert_refused(&given_up.message(), "deadline_exceeded", 504);
        patiently("it has arrived", || node.calls() == 2 * round);
    }
    assert_settled(guard, "timed_out", 2.0);
}

#[test]
fn a_rate_is_neither_forgotten_nor_prolonged_when_the_clock_jumps() {
    let node = Upstream::start();
    let mut config: Value = serde_json::from_str(&config(json!({"url": node.url()}), &json!({}))).expect("JSON");
    let rule = json!({"name": "hourly", "key": ["tool"], "match": {"method": "tools/call"}, "rate": "1/h", "burst": 1});
    config["guard"]["rate_limits"] = json!([rule]);
    let Some(shifted) = Shifted::start(&config.to_string()) else { return };
    let echo = || call(&shifted.guard, 7, "echo");
    assert_eq!(echo().status, 200);
    for shift in [TOO_LATE, TOO_EARLY] {
        shifted.jump(shift, || shifted.nothing());
        let refused = echo();
        assert_refused(&refused, "rate_limited", 429);
        let wait: u32 = refused.header("retry-after").expect("a wait").parse().expect("seconds");
        assert!((3500..=3600).contains(&wait), "{wait}");
        assert_eq!(call(&shifted.guard, 7, &format!("another{shift}")).status, 200);
    }
}

#[test]
fn certificates_are_reloaded_after_the_clock_has_jumped() {
    let node = Upstream::start();
    let authority = Authority::default();
    let pair = authority.issue("server", &["localhost"]);
    let mut config: Value = serde_json::from_str(&config(json!({"url": node.url()}), &json!({}))).expect("JSON");
    config["listeners"] = json!([{"tls": {"certificate": pair.certificate, "key": pair.key}}]);
    let Some(shifted) = Shifted::start(&config.to_string()) else { return };
    let connect = || Wire::secure(shifted.guard.listen, &Arc::new(authority.client(None)));
    let nothing = || {
        let mut wire = connect();
        wire.write("GET /elsewhere HTTP/1.1\r\nhost: localhost\r\n\r\n");
        wire.message()
    };
    let shown = || {
        let mut wire = connect();
        wire.write(post(shifted.guard.listen, &[], call_tool(7, "echo", json!({})).to_string()));
        let reply = wire.message();
        assert_eq!(reply.status, 200, "{}", reply.text());
        wire.stream().conn.peer_certificates().expect("a certificate")[0].to_vec()
    };
    for (round, shift) in (1..).zip(["+1h", "-1h"]) {
        let before = shown();
        shifted.jump(shift, nothing);
        authority.issue("server", &["localhost"]);
        patiently("the new one is shown", || shown() != before);
        let reloaded = || shifted.guard.metric("mcp_guard_certificate_reloads_total{outcome=\"reloaded\"}");
        patiently("it is counted", || reloaded() == f64::from(round));
    }
}
