//! What a config promises, beside the wording of its errors, which the workspace's tests hold as snapshots.

use proptest::prelude::*;

use super::*;
use crate::upstream::from_config;

const URL: &str = "upstreams: [{url: 'http://127.0.0.1:3000/mcp'}]\n";

fn parse(text: &str) -> Config {
    Config::parse("guard.yaml", text, &Flags::default()).unwrap()
}

fn error(text: &str, flags: &Flags) -> String {
    Config::parse("guard.yaml", text, flags).unwrap_err().to_string()
}

fn url(config: &Config) -> String {
    match &config.upstreams()[0].target {
        Target::Urls(urls) => urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Target::Stdio { command, .. } => panic!("a command: {command:?}"),
    }
}

#[test]
fn every_key_but_upstreams_has_its_default() {
    let config = parse(URL);
    assert_eq!(config.listeners()[0].address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.listeners()[0].path.as_str(), "/mcp");
    assert_eq!(config.admin().address.to_string(), "127.0.0.1:9901");
    let upstream = &config.upstreams()[0];
    assert_eq!((upstream.connections.get(), upstream.profile), (256, Profile::Standard));
    assert_eq!(upstream.timeouts.first_byte().as_secs(), 30);
    assert_eq!(config.shutdown().drain.0.as_secs(), 30);
}

#[test]
fn a_flag_wins_over_the_file_and_leaves_the_rest() {
    let text = "listeners: [{address: '0.0.0.0:1', path: /x}, {address: '0.0.0.0:2'}]\n\
                upstreams: [{command: [node], process: {children: 1}, profile: erlmcp}]";
    let flags = Flags {
        listen: Some("127.0.0.1:7".parse().unwrap()),
        upstream: Some("http://node/mcp".into()),
        admin: Some("127.0.0.1:8".parse().unwrap()),
        command: Vec::new(),
    };
    let config = Config::parse("guard.yaml", text, &flags).unwrap();
    let addresses: Vec<_> = config.listeners().iter().map(|listener| listener.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:7", "0.0.0.0:2"]);
    assert_eq!(config.listeners()[0].path.as_str(), "/x");
    assert_eq!(config.admin().address.to_string(), "127.0.0.1:8");
    assert_eq!(url(&config), "http://node/mcp");
    assert_eq!(config.upstreams()[0].profile, Profile::Erlmcp);
}

#[test]
fn a_command_takes_the_place_of_the_url_of_the_file() {
    let flags = Flags { command: vec!["erlmcp".into(), "stdio".into()], ..Flags::default() };
    let config = Config::parse("guard.yaml", URL, &flags).unwrap();
    let Target::Stdio { command, process } = &config.upstreams()[0].target else { panic!("a URL") };
    assert_eq!((command.program(), command.arguments()), ("erlmcp", &["stdio".to_owned()][..]));
    assert_eq!(process.children_max().get(), 128);
}

#[test]
fn children_have_no_longer_to_start_than_a_call_may_take() {
    for (upstream, expected) in [
        ("{command: [node]}", 10),
        ("{command: [node], timeouts: {first_byte: 4s}}", 4),
        ("{command: [node], process: {start_timeout: 3s}, timeouts: {first_byte: 4s}}", 3),
    ] {
        let config = parse(&format!("upstreams: [{upstream}]"));
        let node = &config.upstreams()[0];
        let Target::Stdio { process, .. } = &node.target else { panic!("a URL") };
        assert_eq!(from_config::children(&config, node, process).start_timeout.as_secs(), expected, "{upstream}");
    }
}

#[test]
fn flags_alone_are_a_config() {
    let config = Config::from_flags(&Flags { upstream: Some("http://node/mcp".into()), ..Flags::default() }).unwrap();
    assert_eq!(url(&config), "http://node/mcp");
}

#[test]
fn a_wrong_flag_is_named_in_place_of_a_line() {
    let flags = Flags { upstream: Some("tcp://node".into()), ..Flags::default() };
    assert!(error("", &flags).starts_with("--upstream: upstreams[0].url: a tcp URL has a host and a port"));
    let nothing = Config::from_flags(&Flags::default()).unwrap_err().to_string();
    assert!(nothing.starts_with("command line: upstreams: is missing"), "{nothing}");
}

#[test]
fn a_flag_over_a_section_of_the_wrong_kind_does_not_hide_the_mistake() {
    let flags = Flags { upstream: Some("http://node/mcp".into()), ..Flags::default() };
    assert!(error("upstreams: http://node", &flags).starts_with("guard.yaml:1:12: upstreams: text is not"));
}

#[test]
fn what_may_be_secret_is_not_told_and_what_is_allowed_is() {
    for (text, told) in [
        ("upstreams: [{command: node --token s3cret}]", "command: text is not allowed here: write a list"),
        ("upstreams: [{command: [node, 1234]}]", "command[1]: this value is not allowed here: write text, in quotes"),
        (
            "upstreams: [{command: [node]}]\nlisteners: [{address: 'http://me:s3cret@h'}]",
            "\"http://<redacted>@h\" is not",
        ),
        ("guard: {limits: {body: '${PATH}'}}", "body: ${PATH} is not allowed here: write a whole number with B"),
        ("telemetry: {logs: {level: '${PATH}'}}", "level: ${PATH} is not allowed here: write off, error"),
        ("upstreams: [{url: 'ftp://me:s3cret@${PATH}'}]", "upstreams[0].url: this value is not allowed here"),
        (
            "telemetry: {logs: {level: '${NOBODY_SETS_THIS:-s3cret}'}}",
            "level: this value is not allowed here: write off",
        ),
        ("version: '${PATH}'", "version: ${PATH} is not allowed here: write 1"),
    ] {
        let error = error(text, &Flags::default());
        assert!(error.contains(told) && !error.contains("s3cret") && !error.contains("/bin"), "{error}");
    }
}

#[test]
fn the_effective_config_reads_as_the_config_itself() {
    for text in [
        "upstreams: [{command: [node], process: {memory: 64MiB}}]\nguard: {limits: {body: 1KiB}}",
        "listeners: [{tls: {certificate: c, key: k, minimum_version: TLSv1.2}}]\n\
         upstreams: [{url: 'https://node', tls: {ca: a, certificate: c, key: k, server_name: n}}]",
    ] {
        let config = parse(text);
        assert_eq!(parse(&config.effective().to_string()), config);
    }
}

#[test]
fn a_url_is_written_as_it_is_read() {
    for (text, canonical) in [
        ("http://node:1/mcp", "http://node:1/mcp"),
        ("https://node/mcp", "https://node/mcp"),
        ("SSE+HTTP://node/sse", "sse+http://node/sse"),
        ("sse+https://node/sse", "sse+https://node/sse"),
        ("wss://node/mcp", "wss://node/mcp"),
        ("ws://[::1]:1/mcp", "ws://[::1]:1/mcp"),
        ("tcp://node:7", "tcp://node:7"),
        ("tcp://node:7/", "tcp://node:7"),
        ("unix:/run/node.sock", "unix:/run/node.sock"),
        ("unix:///run/node.sock", "unix:/run/node.sock"),
    ] {
        assert_eq!(url(&parse(&format!("upstreams: [{{url: '{text}'}}]"))), canonical);
    }
}

#[test]
fn who_calls_is_known_where_listeners_ask() {
    let rule = |rule: &str| format!("{URL}guard: {{rate_limits: [{{name: s, {rule}, rate: 1/s, burst: 1}}]}}\n");
    let (by_subject, by_both) = (rule("key: [subject]"), rule("key: [subject, client]"));
    let for_one = rule("key: [client], match: {subject: a}");
    let (asks, is_silent) = ("{tls: {certificate: c, key: k, client_ca: ca}}", "{address: '127.0.0.1:1'}");
    for (text, listeners) in [(&by_subject, is_silent), (&by_both, is_silent)] {
        let problem = error(&format!("{text}listeners: [{listeners}]\n"), &Flags::default());
        assert!(problem.contains("guard.rate_limits[0].key[0]") && problem.contains("listeners[0]"), "{problem}");
    }
    // Callers at the second one have no name, and would share what one caller may.
    let mixed = format!("listeners: [{asks}, {is_silent}]\n");
    assert!(error(&format!("{by_subject}{mixed}"), &Flags::default()).contains("listeners[1] does not ask"));
    assert!(error(&for_one, &Flags::default()).contains("no listener asks for one"));
    parse(&format!("{by_subject}listeners: [{asks}]\n"));
    parse(&format!("{by_both}{mixed}"));
    parse(&format!("{for_one}{mixed}"));
}

#[test]
fn the_effective_config_shows_no_secret() {
    let text = "upstreams: [{command: [node, --token, hunter2, 'db://me:hunter2@db'], process: {environment: {KEY: hunter2}}}]";
    let effective = parse(text).effective();
    assert!(!effective.to_string().contains("hunter2"), "{effective}");
    assert_eq!(effective["upstreams"][0]["process"]["environment"]["KEY"], "<redacted>");
}

#[test]
fn an_error_shows_no_environment_value_and_no_credentials() {
    for text in [
        "upstreams: [{command: [node], process: {environment: {KEY: [hunter2]}}}]",
        "upstreams: [{command: [node], process: {environment: hunter2}}]",
        "upstreams: [{command: [node], process: {environment: {KEY: \"hunter2\\0\"}}}]",
        "upstreams: [{url: 'http://me:hunter2@node/'}]",
        "upstreams: [{url: 'me:hunter2@node'}]",
    ] {
        let error = error(text, &Flags::default());
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_file_that_is_too_large_or_not_there_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.yaml");
    std::fs::write(&large, "#".repeat(usize::try_from(FILE_BYTES_MAX).unwrap() + 1)).unwrap();
    let error = Config::load(&large, &Flags::default()).unwrap_err().to_string();
    assert!(error.ends_with("large.yaml: larger than 1048576 bytes: a config file is at most that"), "{error}");
    let error = Config::load(&folder.path().join("none.yaml"), &Flags::default()).unwrap_err().to_string();
    assert!(error.contains("none.yaml: cannot be read: "), "{error}");
}

#[test]
fn bytes_that_are_not_utf_8_have_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("latin.yaml");
    std::fs::write(&file, b"version: 1\n# caf\xe9\n").unwrap();
    let error = Config::load(&file, &Flags::default()).unwrap_err().to_string();
    assert!(error.contains("latin.yaml:2:6: not UTF-8"), "{error}");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_mistake() {
    parse("\u{feff}version: 1\r\nupstreams:\r\n  - url: http://127.0.0.1:3000/mcp\r\n");
}

#[test]
fn the_number_of_told_problems_is_bounded() {
    let text: String = (0..1000).map(|number| format!("key{number}: 1\n")).collect();
    let error = Config::parse("guard.yaml", &text, &Flags::default()).unwrap_err();
    assert_eq!(error.problems().len(), PROBLEMS_MAX);
    let text: String = (0..1000).map(|number| format!("key{number}:\n")).collect();
    let error = Config::parse("guard.yaml", &text, &Flags::default()).unwrap_err();
    assert_eq!(error.problems().len(), PROBLEMS_MAX);
}

proptest! {
    /// Whatever the file holds, each problem is one line with the file's name.
    #[test]
    fn any_text_is_read_or_refused_line_by_line(text in "(upstreams|url|[-{}\\[\\],:&*!|>'\"%@`# \n\t]|[a-z0-9]|\\PC){0,80}") {
        if let Err(error) = Config::parse("guard.yaml", &text, &Flags::default()) {
            prop_assert!(!error.problems().is_empty());
            prop_assert!(error.to_string().lines().all(|line| line.starts_with("guard.yaml:")));
        }
    }
}
