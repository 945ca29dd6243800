//! The guard as a real process.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::client::{self, Reply};

/// How long anything here may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running `mcp-guard`, ended with SIGKILL when it is dropped.
#[derive(Debug)]
pub struct Guard {
    process: Child,
    /// Where clients are served.
    pub listen: SocketAddr,
    /// Where operators are served.
    pub admin: SocketAddr,
    config: Option<tempfile::TempDir>,
}

const CONFIG: &str = "guard.yaml";

impl Guard {
    /// Runs the binary `program` with `args` on free ports and waits until it listens.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn run(program: &str, args: &[&str]) -> Self {
        Self::start(program, "run", args, None).ready()
    }

    /// Runs it with a config file, whose `listeners` and `admin` are replaced by free ports.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn with_config(program: &str, yaml: &str) -> Self {
        Self::configured(program, yaml).ready()
    }

    /// The same, and does not wait until its node is well.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn unready(program: &str, yaml: &str) -> Self {
        Self::configured(program, yaml).listening()
    }

    /// Starts another process in the place of this one, with this config, and waits until it is the one that answers.
    ///
    /// # Panics
    ///
    /// If it does not take over.
    pub fn upgraded(&self, program: &str, yaml: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the config");
        let path = folder.path().join(CONFIG);
        std::fs::write(&path, yaml).expect("the config is written");
        let pid = self.pid().to_string();
        let args = ["--upgrade", &pid, "-c", path.to_str().expect("a plain path")];
        let new = Self::start_at((self.listen, self.admin), program, "run", &args, Some(folder));
        let own = format!("\"pid\":{}", new.pid());
        let answers = || new.get("/status").is_some_and(|reply| reply.text().contains(&own));
        patiently("the new one answers", answers);
        new.ready()
    }

    fn configured(program: &str, yaml: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the config");
        let path: PathBuf = folder.path().join(CONFIG);
        std::fs::write(&path, yaml).expect("the config is written");
        Self::start(program, "run", &["-c", path.to_str().expect("a plain path")], Some(folder))
    }

    /// Runs `mcp-guard demo`, and gives what it prints.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn demo(program: &str) -> (Self, String) {
        let mut guard = Self::start(program, "demo", &[], None).ready();
        let mut printed = String::new();
        let mut out = BufReader::new(guard.process.stdout.take().expect("its output"));
        while !printed.contains("tracing:") || !printed.ends_with("\n\n") {
            let length = out.read_line(&mut printed).expect("text");
            assert!(length > 0, "the demo ended: {printed}");
        }
        (guard, printed)
    }

    /// What it writes to its standard output, up to the line with `text`; what comes later is for the next one who asks.
    ///
    /// # Panics
    ///
    /// If it ends before.
    pub fn output_until(&mut self, text: &str) -> String {
        let mut printed = String::new();
        let out = self.process.stdout.as_mut().expect("its output");
        let mut byte = [0];
        while !(printed.ends_with('\n') && printed.lines().last().is_some_and(|line| line.contains(text))) {
            out.read_exact(&mut byte).expect("it goes on");
            printed.push(char::from(byte[0]));
        }
        printed
    }

    fn start(program: &str, command: &str, args: &[&str], config: Option<tempfile::TempDir>) -> Self {
        Self::start_at((free_address(), free_address()), program, command, args, config)
    }

    fn start_at(
        (listen, admin): (SocketAddr, SocketAddr),
        program: &str,
        command: &str,
        args: &[&str],
        config: Option<tempfile::TempDir>,
    ) -> Self {
        // Flags come before the words of a stdio node's command.
        let mut process = Command::new(program)
            .args([command, "--listen", &listen.to_string(), "--admin", &admin.to_string()])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the guard starts");
        let log = process.stderr.take().expect("its log");
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                eprintln!("{line}");
            }
        });
        Self { process, listen, admin, config }
    }

    fn ready(self) -> Self {
        patiently("the guard is ready", || self.get("/readyz").is_some_and(|reply| reply.status == 200));
        self.listening()
    }

    fn listening(self) -> Self {
        patiently("it listens", || std::net::TcpStream::connect(self.listen).is_ok());
        self
    }

    /// The URL of the MCP endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.listen)
    }

    /// Puts another config into its file, never half there.
    ///
    /// # Panics
    ///
    /// If it was started without one.
    pub fn reconfigure(&self, yaml: &str) {
        let folder = self.config.as_ref().expect("a config file").path();
        let aside = folder.join("guard.new");
        std::fs::write(&aside, yaml).expect("it is written");
        std::fs::rename(aside, folder.join(CONFIG)).expect("it is replaced");
    }

    /// Asks an admin endpoint to do something.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn order(&self, path: &str) -> Reply {
        let request =
            format!("POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", self.admin);
        client::raw(self.admin, request.as_bytes()).expect("an answer")
    }

    /// Asks an admin endpoint.
    pub fn get(&self, path: &str) -> Option<Reply> {
        client::get_blocking(self.admin, path)
    }

    /// The value of a metric, given with its labels as the page writes them; 0 if it is not there.
    pub fn metric(&self, series: &str) -> f64 {
        let page = self.get("/metrics").map(|reply| reply.text()).unwrap_or_default();
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or_default()
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its child processes.
    pub fn children(&self) -> Vec<u32> {
        children_of(self.pid())
    }

    /// Sends it a signal, by name.
    ///
    /// # Panics
    ///
    /// If it cannot be sent.
    pub fn signal(&self, name: &str) {
        kill(self.pid(), name);
    }

    /// Waits for its end and says with which code.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub fn wait(&mut self) -> Option<i32> {
        let mut status = None;
        patiently("the guard ends", || {
            status = self.process.try_wait().expect("it can be waited for");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a signal to a process.
///
/// # Panics
///
/// If `kill` cannot be run.
pub fn kill(pid: u32, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
    assert!(status.expect("kill runs").success(), "kill -{signal} {pid}");
}

fn children_of(pid: u32) -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// A loopback address that nobody listens on, nor will: no two are the same, and tests that run at once share none.
///
/// A port that the system picks may be picked again before the guard listens there, for it or for a connection.
pub fn free_address() -> SocketAddr {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let of_this_process = std::process::id().wrapping_mul(PORTS_EACH);
    loop {
        let next = of_this_process.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(next % PORTS).map_or(PORT_MIN, |offset| PORT_MIN + offset);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener.local_addr().expect("its address");
        }
    }
}

/// Below what Linux gives to connections, 32768 to 60999.
const PORT_MIN: u16 = 10_000;
const PORTS: u32 = 20_000;
/// More than one test needs; nextest runs each in a process of its own.
const PORTS_EACH: u32 = 16;

/// Asks `condition` again and again until it holds.
///
/// # Panics
///
/// If it does not hold within 30 s; `what` says what was waited for.
#[expect(clippy::disallowed_methods, reason = "other processes keep their own time")]
pub fn patiently(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
