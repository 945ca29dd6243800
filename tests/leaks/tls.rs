//! Certificates and keys, and handshakes that fail.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use mcp_guard_tests::certificates::{Authority, Pair, secure};
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Reply, Wire, patiently, post};
use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::in_both;
use crate::load::borrowed;
use crate::planted::Planted;
use crate::scene::Scene;
use crate::secret::Secret;

const FAILED: &str = "mcp_guard_tls_handshakes_total{outcome=\"failed\"}";

/// The second line of a key's file: the first has what all keys have.
pub(crate) fn written(place: &'static str, key: &Path) -> Secret {
    let text = fs::read_to_string(key).expect("a key");
    Secret::written(place, text.lines().nth(2).expect("a line of base64"))
}

fn listener(pair: &Pair, authority: &Authority) -> Value {
    json!([{"tls": {"certificate": pair.certificate, "key": pair.key, "client_ca": authority.ca()}}])
}

#[test]
fn neither_who_a_client_is_nor_a_key_is_told_whether_the_handshake_fails_or_not() {
    in_both(|log| {
        let (planted, authority, stranger) = (Planted::new(), Authority::default(), Authority::default());
        let pair = authority.issue("server", &["localhost"]);
        let (subject, other) = (Secret::new("the subject of a client"), Secret::new("the subject of a stranger"));
        let client = authority.issue(&subject.text(), &[&format!("spiffe://example.org/{}", subject.text())]);
        let unknown = stranger.issue(&other.text(), &[&format!("{}.example.org", other.text())]);
        let keys = [&pair, &client, &unknown].map(|pair| written("a private key", &pair.key));
        let upstream = Upstream::start();
        let rule = json!({"name": "each", "key": ["subject"], "rate": "1/h", "burst": 3});
        let mut scene = Scene::start(
            log,
            json!({"listeners": listener(&pair, &authority), "upstreams": [{"url": upstream.url()}], "guard": {"rate_limits": [rule]}}),
        );
        let known = Arc::new(authority.client(Some(&client)));
        let replies = ["echo", "add", "broken", "echo"].map(|tool| call(&scene, &known, &planted, tool));
        assert_eq!(replies[0].status, 200);
        for (reply, reason) in replies.iter().zip(["", "invalid_arguments", "upstream_failed", "rate_limited"]).skip(1)
        {
            scene.refused(reply, reason);
        }
        fail(
            &scene,
            &planted,
            [authority.client(None), stranger.client(Some(&unknown)), authority.client(Some(&unknown))],
        );
        scene.end(&[planted.all(), vec![subject, other], keys.to_vec()].concat());
    });
}

fn call(scene: &Scene, config: &Arc<ClientConfig>, planted: &Planted, tool: &str) -> Reply {
    let mut wire = Wire::secure(scene.guard.listen, config);
    let message = planted.call(1, tool).to_string();
    wire.write(post(scene.guard.listen, &borrowed(&planted.headers()), message));
    wire.message()
}

/// Handshakes of these clients, and of one that speaks no TLS.
fn fail(scene: &Scene, planted: &Planted, clients: [ClientConfig; 3]) {
    let message = post(scene.guard.listen, &borrowed(&planted.headers()), planted.call(1, "echo").to_string());
    let mut plain = Wire::connect(scene.guard.listen);
    plain.write(&message);
    plain.is_closed();
    for config in clients {
        let mut stream = secure(scene.guard.listen, &Arc::new(config));
        // It may be refused before it is sent.
        let _ = stream.write_all(&message);
        assert!(Wire::over(stream).is_closed());
    }
    patiently("all are counted", || scene.guard.metric(FAILED) >= 4.0);
}

/// As a secret looks that has lost its line ends on the way, in a variable or a text box.
pub(crate) fn in_one_line(key: &Path) -> String {
    fs::read_to_string(key).expect("a key").replace('\n', "")
}

#[test]
fn a_key_that_cannot_be_read_again_is_not_told() {
    in_both(|log| {
        let authority = Authority::default();
        let pair = authority.issue("server", &["localhost"]);
        let key = written("a private key", &pair.key);
        let upstream = Upstream::start();
        let config = json!({"listeners": listener(&pair, &authority), "upstreams": [{"url": upstream.url()}]});
        let scene = Scene::start(log, config);
        fs::write(&pair.key, in_one_line(&pair.key)).expect("it is written");
        patiently("the log says so", || scene.log().contains("are no good"));
        scene.end(&[key]);
    });
}

#[test]
fn a_node_that_speaks_no_tls_is_told_of_without_what_it_was_asked() {
    in_both(|log| {
        let (planted, authority) = (Planted::new(), Authority::default());
        let pair = authority.issue("guard", &["guard"]);
        let key = written("a private key", &pair.key);
        let upstream = Upstream::start();
        let tls = json!({"ca": authority.ca(), "certificate": pair.certificate, "key": pair.key});
        let url = upstream.url().replace("http:", "https:");
        let guard = json!({"retry": {"attempts": 1}});
        let mut scene = Scene::unready(log, json!({"upstreams": [{"url": url, "tls": tls}], "guard": guard}));
        let reply = crate::load::ask(&scene.guard, &planted, &planted.call(1, "echo"));
        scene.refused(&reply, "upstream_unavailable");
        scene.end(&[planted.all(), vec![key]].concat());
    });
}
