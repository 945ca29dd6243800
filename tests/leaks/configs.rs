//! Configs with secrets in wrong places: `check`, a start and a reload say what is wrong, and not what is there.

use std::process::Command;

use mcp_guard_tests::certificates::Authority;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, free_address};
use serde_json::json;

use crate::scene::{Scene, assert_none};
use crate::secret::Secret;
use crate::tls::{in_one_line, written};
use crate::{PROGRAM, in_both};

/// The secret of each, in its place; `${TOKEN}` is it too.
const BAD: [&str; 28] = [
    "upstreams: [{command: 'node --token SECRET'}]",
    "upstreams: [{command: [node, {token: SECRET}]}]",
    "upstreams: [{command: [node], process: {environment: {TOKEN: [SECRET]}}}]",
    "upstreams: [{command: [node], process: {environment: SECRET}}]",
    "upstreams: [{command: [node], process: {environment: [TOKEN=SECRET]}}]",
    "upstreams: [{command: [node], process: {environment: {'A=B': SECRET}}}]",
    "upstreams: [{command: [node], process: SECRET}]",
    "upstreams: [{command: [node], environment: {TOKEN: SECRET}}]",
    "upstreams: [{url: 'http://me:SECRET@node/mcp'}]",
    "upstreams: [{url: 'ftp://me:SECRET@node/mcp'}]",
    "upstreams: [{url: 'me:SECRET@node/mcp'}]",
    "upstreams: [{url: 'http://node:80x/mcp?key=SECRET'}]",
    "upstreams: [{url: ['http://node/mcp?key=SECRET']}]",
    "upstreams: [{urls: 'http://me:SECRET@node/mcp'}]",
    "upstreams: [{urls: ['http://node/a?key=SECRET', 'http://node/a?key=SECRET']}]",
    "upstreams: 'http://me:SECRET@node/mcp'",
    "telemetry: {traces: {otlp: 'https://otlp.example/?key=SECRET'}}",
    "telemetry: {traces: 'http://me:SECRET@otlp.example'}",
    "telemetry: {logs: {level: '${TOKEN}', format: \"${TOKEN}\", output: ${TOKEN}}}",
    "guard: {limits: {body: \"${TOKEN}\", json_depth: \"${TOKEN}\"}, rate_limits: [{name: a, rate: '${TOKEN}'}]}",
    "listeners: [{address: '${TOKEN}', path: '${TOKEN}', allowed_hosts: ['${TOKEN}:a'], allowed_origins: ['${TOKEN}']}]",
    "listeners: [{address: 'http://me:SECRET@host:80', allowed_origins: ['https://me:SECRET@app', 'https://app/?key=SECRET']}]",
    "version: ${TOKEN}",
    "upstreams: [{url: 'http://node/', profile: '${TOKEN}', connections: '${TOKEN}', timeouts: {connect: '${TOKEN}'}}]",
    "upstreams: [{command: [node], process: {environment: {TOKEN: 'SECRET}}]",
    "upstreams: [{command: [node], process: {environment: {TOKEN: *SECRET}}}]",
    "upstreams: [{command: [node], process: {environment: {TOKEN: !SECRET a}}}]",
    "upstreams: [{command: [node], process: {environment: {TOKEN: {SECRET}}}}]\n\tSECRET",
];

/// What `check`, or a guard that cannot start, says of this config.
fn said(command: &[&str], yaml: &str, token: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("guard.yaml");
    std::fs::write(&file, yaml).expect("it is written");
    let output =
        Command::new(PROGRAM).args(command).arg("-c").arg(&file).env("TOKEN", token).output().expect("it ends");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert_eq!(output.status.code(), Some(2), "{yaml}: {text}");
    assert!(text.contains("guard.yaml:"), "{yaml}: {text}");
    text
}

#[test]
fn what_is_wrong_with_a_config_is_told_without_the_secrets_in_it() {
    let token = Secret::new("a value of the config");
    let said = BAD.iter().flat_map(|yaml| {
        let yaml = yaml.replace("SECRET", &token.text());
        [vec!["check"], vec!["run"]].map(|command| (format!("`{yaml}`"), said(&command, &yaml, &token.text())))
    });
    assert_none(&said.collect::<Vec<_>>(), &[token]);
}

#[test]
fn a_reload_of_a_bad_config_is_refused_without_the_secrets_in_it() {
    in_both(|log| {
        let (token, upstream) = (Secret::new("a value of the config"), Upstream::start());
        let good = json!({"upstreams": [{"url": upstream.url()}]});
        let mut scene = Scene::with(log, good, &[("TOKEN", &token.text())], Guard::with_config);
        for yaml in BAD {
            scene.guard.reconfigure(&yaml.replace("SECRET", &token.text()));
            // Ten of these at once are too many; it would be read by itself a second later.
            mcp_guard_tests::patiently("it is refused", || {
                let reply = scene.guard.order("/reload");
                scene.tell("the answer to a reload", reply.text());
                reply.status == 422
            });
            scene.tell("/status", scene.guard.get("/status").expect("a page").text());
        }
        scene.end(&[token]);
    });
}

#[test]
fn a_key_that_is_not_where_or_what_it_should_be_is_not_told() {
    let authority = Authority::default();
    let pair = authority.issue("server", &["localhost"]);
    let key = written("a private key", &pair.key);
    let (certificate, whole) = (json!(pair.certificate), std::fs::read_to_string(&pair.key).expect("a key"));
    let file = |name: &str, text: &str| {
        std::fs::write(authority.file(name), text).expect("it is written");
        json!(authority.file(name))
    };
    let broken = file("broken", &whole.replace("-----END", "-----ENDE"));
    let no_base64 = file("no_base64", &whole.replace('\n', " ü\n"));
    let one_line = file("one_line", &in_one_line(&pair.key));
    let headless = file("headless", whole.split_once('\n').expect("a line").1);
    let wrong = [
        (json!(pair.key), json!(pair.key)),
        (certificate.clone(), broken),
        (certificate.clone(), no_base64),
        (certificate.clone(), one_line.clone()),
        (one_line, json!(pair.key)),
        (certificate.clone(), headless),
        // The text in the place of the path.
        (certificate.clone(), json!(whole)),
        (certificate.clone(), json!(in_one_line(&pair.key))),
        (certificate, json!("${TOKEN}")),
    ];
    let said = wrong.into_iter().map(|(certificate, key)| {
        let tls = json!({"certificate": certificate, "key": key});
        let node = format!("http://{}/mcp", free_address());
        let yaml = json!({"listeners": [{"tls": tls}], "upstreams": [{"url": node}]}).to_string();
        ("`check`".to_owned(), said(&["check"], &yaml, &whole))
    });
    assert_none(&said.collect::<Vec<_>>(), &[key]);
}
