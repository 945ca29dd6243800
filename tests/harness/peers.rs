//! The real programs that `.ci/peers` installs, and what they say.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::process::{free_address, patiently};

/// Set to 1, it makes a test that lacks its peers fail; without, such a test says that it skips.
pub const REQUIRE: &str = "MCP_GUARD_REQUIRE_PEERS";

/// The folder of the programs.
#[derive(Clone, Debug)]
pub struct Peers {
    folder: PathBuf,
}

/// Passed and failed checks for each scenario of the conformance suite.
pub type Checks = BTreeMap<String, (u32, u32)>;

impl Peers {
    /// The programs in `parts`, folders that `.ci/peers` makes; `None` where one is missing.
    ///
    /// # Panics
    ///
    /// If one is missing and [`REQUIRE`] is 1.
    pub fn find(parts: &[&str]) -> Option<Self> {
        let folder = std::env::var_os("MCP_GUARD_PEERS").map(PathBuf::from).or_else(|| {
            let home = std::env::var_os("HOME")?;
            Some(Path::new(&home).join(".cache/mcp-guard-peers"))
        })?;
        let missing = parts.iter().find(|part| !folder.join(part).join(".installed").exists());
        skip_unless(missing.is_none(), &format!("{folder:?} has all of {parts:?}")).then_some(Self { folder })
    }

    /// Runs the server suite of conformance `version` against `url` and says what it counted.
    ///
    /// # Panics
    ///
    /// If it counts nothing.
    pub fn conformance(&self, version: &str, url: &str, args: &[&str]) -> Checks {
        let program = self.folder.join(format!("conformance-{version}/node_modules/.bin/conformance"));
        let results = tempfile::tempdir().expect("a folder for its results");
        let output = self.run(Command::new(program).args(["server", "--url", url]).args(args).current_dir(&results));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let summary = text.split_once("=== SUMMARY ===").map_or("", |(_, summary)| summary);
        let checks: Checks = summary.lines().filter_map(scenario).collect();
        assert!(!checks.is_empty(), "no summary: {text}\n{}", String::from_utf8_lossy(&output.stderr));
        checks
    }

    /// Runs `tests/peers/SCRIPT` with Node and reads the JSON lines that it prints.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn node(&self, script: &str, args: &[&str]) -> Vec<Value> {
        // Modules are looked for beside a script, so it runs from a folder that has them.
        let folder = tempfile::tempdir().expect("a folder for the script");
        let modules = self.folder.join("typescript/node_modules");
        std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).expect("a link to the modules");
        for file in [script, "steps.mjs"] {
            std::fs::copy(source(file), folder.path().join(file)).expect("the script is there");
        }
        lines(script, &self.run(Command::new("node").arg(folder.path().join(script)).args(args)))
    }

    /// Runs `tests/peers/SCRIPT` with Python and reads the JSON lines that it prints.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn python(&self, script: &str, args: &[&str]) -> Vec<Value> {
        lines(script, &self.run(Command::new(self.python_program()).arg(source(script)).args(args)))
    }

    /// Lets sslyze look at the server at `address` as `localhost`, whose certificate the authority in `ca` issued, and
    /// gives what it finds against one of Mozilla's TLS configurations.
    ///
    /// # Panics
    ///
    /// If it cannot be run.
    pub fn sslyze(&self, configuration: &str, ca: &Path, address: SocketAddr) -> String {
        let mut command = Command::new(self.folder.join("sslyze/bin/sslyze"));
        command.arg(format!("--mozilla_config={configuration}")).arg("--certinfo_ca_file").arg(ca);
        let output = command.arg(format!("localhost:{}", address.port())).output().expect("sslyze runs");
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        found.split_once("COMPLIANCE AGAINST").map_or(found.clone(), |(_, compliance)| compliance.to_owned())
    }

    /// The interpreter that has the Python SDK.
    pub fn python_program(&self) -> PathBuf {
        self.folder.join("python/bin/python")
    }

    /// Starts the TypeScript SDK's example server over Streamable HTTP.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn server_everything(&self) -> Peer {
        self.server_everything_over("streamableHttp")
    }

    /// The same over another of its transports.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn server_everything_over(&self, transport: &str) -> Peer {
        let address = free_address();
        let program = self.folder.join("typescript/node_modules/.bin/mcp-server-everything");
        let mut command = Command::new(program);
        self.with_path(command.arg(transport).env("PORT", address.port().to_string()));
        Peer::start(&mut command, address)
    }

    /// Starts an OpenTelemetry collector that takes OTLP over gRPC, and over HTTP, at the addresses given back, and writes the
    /// spans that it gets to `log` as text.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn collector(&self, log: &Path) -> (Peer, [SocketAddr; 2]) {
        self.collector_of("traces", log)
    }

    /// The same for `logs` or `metrics`.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn collector_of(&self, signal: &str, log: &Path) -> (Peer, [SocketAddr; 2]) {
        let (grpc, http) = (free_address(), free_address());
        let found = walk(&self.folder.join("collector/lib"), "rotel-agent").expect("the collector's program");
        let out = std::fs::File::create(log).expect("a file for its log");
        let (grpc_flag, http_flag) = (grpc.to_string(), http.to_string());
        let mut command = Command::new(found);
        command.args(["start", "--otlp-grpc-endpoint", &grpc_flag, "--otlp-http-endpoint", &http_flag]);
        command.args(["--exporter", "blackhole", "--debug-log", signal, "--debug-log-verbosity", "detailed"]);
        let process = command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).spawn().expect("it starts");
        let peer = Peer { process, address: grpc };
        patiently("the collector listens", || std::net::TcpStream::connect(grpc).is_ok());
        (peer, [grpc, http])
    }

    fn run(&self, command: &mut Command) -> Output {
        self.with_path(command).stdin(Stdio::null()).output().expect("the peer runs")
    }

    fn with_path<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let node = self.folder.join("node/node_modules/.bin");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", node.display()))
    }
}

/// A server in a process of its own, ended with SIGKILL when it is dropped.
#[derive(Debug)]
pub struct Peer {
    process: Child,
    address: SocketAddr,
}

impl Peer {
    /// Starts `command`, which is to listen on `address`.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    pub fn start(command: &mut Command, address: SocketAddr) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let peer = Self { process: quiet.spawn().expect("the server starts"), address };
        patiently("the server listens", || std::net::TcpStream::connect(address).is_ok());
        peer
    }

    /// Starts the fixture node for the conformance suite, the binary `program`.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    pub fn conformance_node(program: &str) -> Self {
        Self::conformance_node_over(program, "--listen")
    }

    /// The same over another of its transports.
    ///
    /// # Panics
    ///
    /// If it does not listen.
    pub fn conformance_node_over(program: &str, transport: &str) -> Self {
        let address = free_address();
        Self::start(Command::new(program).args([transport, &address.to_string()]), address)
    }

    /// The URL of its MCP endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether `there` holds; if not, says that the test skips.
///
/// # Panics
///
/// If it does not hold and [`REQUIRE`] is 1.
pub fn skip_unless(there: bool, wanted: &str) -> bool {
    if !there {
        assert!(std::env::var(REQUIRE).as_deref() != Ok("1"), "it is not so that {wanted}; run .ci/peers");
        say(&format!("skipped: it wants that {wanted}; .ci/peers sees to it"));
    }
    there
}

/// Whether this process may do something that nothing could be installed for; if not, says that the test skips.
pub fn skip_unless_allowed(may: bool, wanted: &str) -> bool {
    if !may {
        say(&format!("skipped: it wants that {wanted}"));
    }
    may
}

/// Says something to whoever reads the test's output.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// All checks together: passed, failed.
pub fn total(checks: &Checks) -> (u32, u32) {
    checks.values().fold((0, 0), |(passed, failed), (more, worse)| (passed + more, failed + worse))
}

/// The file called `name` somewhere below `folder`.
fn walk(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries
        .iter()
        .find(|path| path.is_file() && path.ends_with(name))
        .cloned()
        .or_else(|| entries.iter().filter(|path| path.is_dir()).find_map(|path| walk(path, name)))
}

fn source(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script)
}

fn lines(script: &str, output: &Output) -> Vec<Value> {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {}\n{text}\n{errors}", output.status);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{script} printed {line}"))).collect()
}

/// Reads `✓ ping: 1 passed, 0 failed`.
fn scenario(line: &str) -> Option<(String, (u32, u32))> {
    let (name, counts) = line.split_once(": ")?;
    let name = name.strip_prefix(['✓', '✗'])?.trim();
    let (passed, failed) = counts.split_once(" passed, ")?;
    let failed = failed.split_once(" failed")?.0;
    Some((name.to_owned(), (passed.parse().ok()?, failed.parse().ok()?)))
}
