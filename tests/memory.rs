//! Memory that runs short in the guard's own cgroup, by a balloon beside it: what is refused at each mark, and that all comes back.
//!
//! Needs a cgroup of version 1 that this process may make children of; else it says so and does nothing.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, call_tool, patiently, request, send};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const LIMIT: u64 = 512 << 20;
const MARK: &str = "mcp_guard_memory_pressure";

/// A cgroup with a limit, removed at the end.
struct Cgroup(PathBuf);

impl Cgroup {
    fn with_limit(bytes: u64) -> Option<Self> {
        let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = membership.lines().find_map(|line| line.split_once(":memory:").map(|(_, path)| path))?;
        let parent = PathBuf::from("/sys/fs/cgroup/memory").join(path.trim_start_matches('/'));
        let own = parent.join(format!("mcp-guard-test-{}", std::process::id()));
        fs::create_dir(&own).ok()?;
        let cgroup = Self(own);
        fs::write(cgroup.0.join("memory.limit_in_bytes"), bytes.to_string()).ok()?;
        Some(cgroup)
    }

    fn take(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("the process moves");
    }

    /// A program that is the guard, within the cgroup from its beginning.
    fn starter(&self, folder: &Path) -> String {
        let file = folder.join("guard");
        let procs = self.0.join("cgroup.procs");
        let script = format!("#!/bin/sh\necho $$ > {} && exec {PROGRAM} \"$@\"\n", procs.display());
        fs::write(&file, script).expect("it is written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it can be run");
        file.to_str().expect("a plain path").to_owned()
    }

    fn used(&self) -> u64 {
        let text = fs::read_to_string(self.0.join("memory.usage_in_bytes")).expect("its usage");
        text.trim().parse().expect("a number")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        patiently("the cgroup is empty", || fs::remove_dir(&self.0).is_ok());
    }
}

/// A process that holds what it is fed: `tail` waits for the end of a line that never comes.
struct Balloon(Child);

impl Balloon {
    fn within(cgroup: &Cgroup) -> Self {
        let child = Command::new("tail").args(["-n", "1"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let child = child.expect("tail runs");
        cgroup.take(child.id());
        Self(child)
    }

    /// Blows it up until all in the cgroup use so many percent of its limit.
    fn fill(&mut self, cgroup: &Cgroup, percent: u64) {
        let air = vec![b'a'; 1 << 20];
        while cgroup.used() < LIMIT / 100 * percent {
            self.0.stdin.as_mut().expect("its input").write_all(&air).expect("it takes it");
        }
    }
}

impl Drop for Balloon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn reason(guard: &Guard, body: &Value) -> Option<String> {
    send(guard.listen, &[], body.to_string()).reason()
}

#[test]
fn a_balloon_in_the_cgroup_walks_through_the_marks_and_service_comes_back() {
    let Some(cgroup) = Cgroup::with_limit(LIMIT) else {
        println!("skipped: no cgroup of version 1 that can be changed here");
        return;
    };
    let node = Upstream::start();
    let yaml = json!({"version": 1, "upstreams": [{"url": node.url()}]}).to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let guard = Guard::with_config(&cgroup.starter(folder.path()), &yaml);
    let small = call_tool(1, "echo", json!({}));
    let large = call_tool(1, "echo", json!({"text": "a".repeat(100_000)}));
    let initialize = request(
        1,
        "initialize",
        json!({"protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"}}),
    );
    let pressed = Some("memory_pressure");
    let expectations = [
        (0.0, 0, [None, None, None], 200),
        (1.0, 80, [None, pressed, None], 200),
        (2.0, 88, [None, pressed, pressed], 200),
        (3.0, 97, [pressed, pressed, pressed], 503),
        (0.0, 0, [None, None, None], 200),
    ];
    let mut balloon = None;
    for (mark, percent, reasons, ready) in expectations {
        if percent == 0 {
            balloon = None;
        } else {
            balloon.get_or_insert_with(|| Balloon::within(&cgroup)).fill(&cgroup, percent);
        }
        patiently("the mark is reached", || (guard.metric(MARK) - mark).abs() < 0.1);
        let found = [&small, &large, &initialize].map(|body| reason(&guard, body));
        assert_eq!(found.each_ref().map(Option::as_deref), reasons, "at {percent} %");
        assert_eq!(guard.get("/readyz").unwrap().status, ready, "at {percent} %");
    }
}
