//! The config file as people meet it: samples, schema, reference page, and what is said about mistakes.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up fails it")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use mcp_guard_sidecar::config::{Config, Flags, json_of_yaml, schema};
use mcp_guard_tests::config_reference;

/// The repository's own folder `path`.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The YAML files of a folder: name and text, in the order of their names.
fn yaml_files(folder: &str) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(repository(folder)).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

/// The samples among the examples, of which there are some.
fn samples() -> BTreeMap<String, String> {
    let mut samples = yaml_files("examples/config");
    samples.extend(yaml_files("examples/sidecar_stdio"));
    assert!(samples.len() >= 4, "{:?}", samples.keys());
    samples
}

#[test]
fn every_sample_is_a_valid_config() {
    for (name, text) in samples() {
        if let Err(error) = Config::parse(&name, &text, &Flags::default()) {
            panic!("{error}");
        }
    }
}

#[test]
fn every_sample_is_valid_by_the_schema() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    for (name, text) in samples() {
        let sample = json_of_yaml(&name, &text).unwrap();
        let errors: Vec<_> = validator.iter_errors(&sample).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

/// The effective config writes out every default, so this compares each default of the code with the schema's types.
#[test]
fn every_effective_config_is_valid_by_the_schema() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    for (name, text) in samples() {
        let effective = Config::parse(&name, &text, &Flags::default()).unwrap().effective();
        let errors: Vec<_> = validator.iter_errors(&effective).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn the_schema_refuses_unknown_keys_and_keys_without_value() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    for text in [
        "{}",
        "{upstreams: [{url: 'http://node/'}], gaurd: {}}",
        "{upstreams: [{url: 'http://node/', command: [node]}]}",
        "{upstreams: [{url: 'http://node/', timeouts: {connect: 1}}]}",
        "{upstreams: [{url: 'http://node/'}], guard: {limits: {bodyy: 1MiB}}}",
    ] {
        assert!(!validator.is_valid(&json_of_yaml("text", text).unwrap()), "{text}");
    }
    let null = serde_json::json!({"upstreams": [{"url": "http://node/", "process": null}]});
    assert!(!validator.is_valid(&null));
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_is_allowed() {
    let mut told = String::new();
    for (name, text) in yaml_files("tests/scenarios/config_bad") {
        let error = Config::parse(&name, &text, &Flags::default()).expect_err(&name);
        writeln!(told, "{error}").unwrap();
    }
    insta::assert_snapshot!(told);
}

#[test]
fn the_reference_page_is_up_to_date() {
    let page = config_reference::page(&schema());
    let file = repository("docs/config.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == page,
        "docs/config.md is stale: run UPDATE=1 cargo nextest run -p mcp-guard-tests reference_page"
    );
}
