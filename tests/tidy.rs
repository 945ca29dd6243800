//! Rules on the repository's own text that no compiler checks. CONTRIBUTING.md has them in words.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up fails it")]

use std::fs;
use std::path::{Path, PathBuf};

/// Folders of `mcp-guard/src` that are no concerns.
const SHARED: [&str; 3] = ["json", "middleware", "session"];

/// What every concern has.
const CONCERN_FILES: [&str; 5] = ["mod.rs", "policy.rs", "layer.rs", "service.rs", "tests.rs"];

/// The files of the library, beside `middleware/`, that may know a runtime, HTTP and the time. All others are pure (I1).
const ADAPTERS: [&str; 14] = [
    "guard.rs",
    "layer.rs",
    "service.rs",
    "breaker/report.rs",
    "queue/gate.rs",
    "queue/meters.rs",
    "rate_limit/counters.rs",
    "rate_limit/headers.rs",
    "trace/carried.rs",
    "trace/headers.rs",
    "trace/span.rs",
    "validation/checks.rs",
    "validation/fetch.rs",
    "validation/metrics.rs",
];

/// Words that no pure file has.
const IMPURE: [&str; 8] = ["tokio", "tower", ".await", "now()", "http::", "crate::middleware", "metrics::", "fastrand"];

/// Files of the library that only tests are built from, beside those whose name ends with `tests.rs`.
const TEST_HELPERS: [&str; 4] = ["queue/testing.rs", "breaker/spy.rs", "validation/fake.rs", "validation/samples.rs"];

/// Where tests may wait for real time: the one helper that asks again and again, and the programs under `fixtures/`, some
/// of whose tools are there to be slow.
const REAL_SLEEPS: [&str; 2] = ["tests/harness/process.rs", "tests/fixtures/"];

/// What makes the time of a test virtual.
const PAUSED: [&str; 2] = ["start_paused = true", "start_paused(true)"];

const LINES_MAX: usize = 400;

#[test]
fn every_concern_has_the_same_files() {
    for concern in concerns() {
        for file in CONCERN_FILES {
            let file = format!("mcp-guard/src/{concern}/{file}");
            assert!(repository(&file).is_file(), "{file} is missing");
        }
    }
}

#[test]
fn every_concern_is_in_the_config_and_in_the_architecture() {
    let config = read("mcp-guard/src/config.rs");
    let architecture = read("ARCHITECTURE.md");
    for concern in concerns() {
        assert!(config.contains(&format!("crate::{concern}::")), "config.rs does not name {concern}");
        assert!(architecture.contains(&format!("`{concern}/`")), "ARCHITECTURE.md does not name `{concern}/`");
    }
}

#[test]
fn the_front_page_of_a_concern_holds_no_code() {
    let files = concerns().into_iter().map(|concern| format!("mcp-guard/src/{concern}/mod.rs"));
    let found = files.flat_map(|file| {
        let text = code(&read(&file));
        let is_code = |line: &&str| {
            ["fn ", "struct ", "enum ", "impl", "const ", "static "].iter().any(|word| has_word(line, word))
        };
        text.lines().filter(is_code).map(|line| format!("{file}: {}", line.trim())).collect::<Vec<_>>()
    });
    assert_none(found.collect());
}

#[test]
fn pure_files_know_no_runtime_no_http_and_no_clock() {
    let mut found = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| is_pure(path)) {
        for line in code(without_tests(&text)).lines().filter(|line| !line.contains("feature = \"tower\"")) {
            found.extend(IMPURE.iter().filter(|word| has_word(line, word)).map(|word| format!("{path}: {word}")));
        }
    }
    assert_none(found);
}

#[test]
fn no_file_is_longer_than_a_reader_bears() {
    let long = sources().into_iter().map(|(path, text)| (path, text.lines().count()));
    assert_none(
        long.filter(|(_, lines)| *lines > LINES_MAX).map(|(path, lines)| format!("{path}: {lines} lines")).collect(),
    );
}

#[test]
fn tests_do_not_sleep() {
    let sources = sources();
    let folder = |path: &str| Path::new(path).parent().map(Path::to_path_buf);
    // In paused time a sleep takes none, it only says when.
    let says = |text: &str| PAUSED.iter().any(|paused| text.contains(paused));
    let is_paused = |of: &str| sources.iter().any(|(path, text)| folder(path) == folder(of) && says(text));
    let sleep = ["sle", "ep("].concat();
    let mut found = Vec::new();
    for (path, text) in &sources {
        let tests = if is_test(path) { text } else { text.strip_prefix(without_tests(text)).unwrap_or_default() };
        let has = |word: &str| code(tests).lines().any(|line| has_word(line, word));
        let is_real = has(&format!("thread::{sleep}")) || (has(&sleep) && !is_paused(path));
        if is_real && !REAL_SLEEPS.iter().any(|allowed| path.starts_with(allowed)) {
            found.push(path.clone());
        }
    }
    assert_none(found);
}

#[test]
fn whoever_waits_for_several_says_which_comes_first() {
    // Else the runtime draws one by chance of its own, and a seed of the simulation is another run each time.
    let mut found = Vec::new();
    let is_shipped = |path: &str| path.starts_with("mcp-guard") && path.contains("/src/") && !is_test(path);
    for (path, text) in sources().into_iter().filter(|(path, _)| is_shipped(path)) {
        let text = code(without_tests(&text));
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        for pair in lines.windows(2) {
            if pair[0].ends_with("select! {") && pair[1] != "biased;" {
                found.push(format!("{path}: {}", pair[0]));
            }
        }
    }
    assert_none(found);
}

#[test]
fn what_is_left_to_do_has_an_issue() {
    let mark = ["TO", "DO"].concat();
    let mut found = Vec::new();
    for (path, text) in sources() {
        for line in text.lines() {
            let is_numbered = |at: usize| line[at + mark.len()..].starts_with("(#");
            found.extend(line.find(&mark).filter(|at| !is_numbered(*at)).map(|_| format!("{path}: {}", line.trim())));
        }
    }
    assert_none(found);
}

#[test]
fn nothing_is_unsafe_and_every_member_is_held_to_that() {
    let word = ["un", "safe"].concat();
    let is_found = |text: &str| code(text).lines().any(|line| has_word(line, &word));
    assert_none(sources().into_iter().filter(|(_, text)| is_found(text)).map(|(path, _)| path).collect());
    for member in ["mcp-guard", "mcp-guard-sidecar", "examples", "benches", "benches/load", "tests"] {
        let manifest = read(&format!("{member}/Cargo.toml"));
        // Tests have fewer lints than what is shipped, but not in this.
        let is_held =
            ["[lints]\nworkspace = true", "unsafe_code = \"forbid\""].iter().any(|held| manifest.contains(held));
        assert!(is_held, "{member} does not inherit the lints");
    }
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let mut found = Vec::new();
    for (path, text) in files("md") {
        let folder = repository(&path).parent().unwrap().to_path_buf();
        for (_, rest) in text.match_indices("](").map(|(at, _)| text[at..].split_at(2)) {
            let target = rest.split([')', '#']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !folder.join(target).exists() {
                found.push(format!("{path}: {target}"));
            }
        }
    }
    assert_none(found);
}

#[test]
fn every_decision_is_in_the_architecture() {
    let architecture = read("ARCHITECTURE.md");
    let decisions = files("md").into_iter().map(|(path, _)| path);
    let numbers = decisions.filter_map(|path| path.strip_prefix("docs/adr/")?.get(..4).map(str::to_owned));
    let numbers: Vec<_> = numbers.filter(|number| number != "0000").collect();
    assert!(numbers.len() >= 8, "{numbers:?}");
    assert_none(numbers.into_iter().filter(|number| !architecture.contains(&format!("ADR {number}"))).collect());
}

#[track_caller]
fn assert_none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

fn concerns() -> Vec<String> {
    let folders = fs::read_dir(repository("mcp-guard/src")).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap());
    let concerns: Vec<_> = folders.filter(|name| !SHARED.contains(&name.as_str())).collect();
    assert!(concerns.len() >= 6, "{concerns:?}");
    concerns
}

fn is_pure(path: &str) -> bool {
    let Some(file) = path.strip_prefix("mcp-guard/src/") else { return false };
    let is_adapter = |adapter: &str| file == adapter || file.ends_with(&format!("/{adapter}"));
    !file.starts_with("middleware/") && !is_test(path) && !ADAPTERS.iter().any(|adapter| is_adapter(adapter))
}

fn is_test(path: &str) -> bool {
    let is_helper = TEST_HELPERS.iter().any(|helper| path.ends_with(helper));
    is_helper || path.ends_with("tests.rs") || path.split('/').any(|part| part == "tests")
}

/// `text` up to its inner `mod tests`.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {")
        .or_else(|| text.find("#[cfg(test)]\n#[expect"))
        .map_or(text, |end| &text[..end])
}

/// `text` without comments.
fn code(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split(" // ").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Whether `line` has `word` where no longer word begins or ends with it.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let joins = |edge: bool, neighbour: Option<char>| edge && neighbour.is_some_and(is_part);
        !joins(word.starts_with(is_part), before.chars().next_back())
            && !joins(word.ends_with(is_part), after.chars().next())
    })
}

fn sources() -> Vec<(String, String)> {
    let sources = files("rs");
    assert!(sources.len() > 100, "{} sources", sources.len());
    sources
}

/// The repository's files with this extension: path from its top and text.
fn files(extension: &str) -> Vec<(String, String)> {
    let top = repository("");
    let mut found = Vec::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && !name.starts_with('.') && !["target", "node_modules"].contains(&name.as_str()) {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The repository's own file or folder `path`.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
