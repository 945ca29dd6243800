//! What a crash leaves behind: no core dump, unless an operator allows it.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mcp_guard_tests::{Guard, Session, free_address, kill, patiently};
use serde_json::json;

use crate::{NODE, PROGRAM};

/// A process, killed when this is dropped.
struct Process(Child);

impl Process {
    /// Waits for its end, and says whether it dumped core.
    fn dumps(&mut self) -> bool {
        self.0.wait().expect("it ends").core_dumped()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `command` in a shell that has allowed core dumps, in `folder`.
fn allowed(folder: &Path, command: &str) -> Process {
    let script = format!("ulimit -S -c unlimited && {command}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Process(shell.spawn().expect("a shell"))
}

/// The soft and the hard limit of a process's core dumps.
fn limits(pid: u32) -> (String, String) {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).expect("its limits");
    let line = text.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("the limit");
    let mut words = line.split_whitespace().map(str::to_owned);
    (words.next().expect("the soft one"), words.next().expect("the hard one"))
}

/// Ends a process by a signal that dumps core, and says whether it did.
fn dumps(mut process: Process) -> bool {
    kill(process.0.id(), "ABRT");
    process.dumps()
}

#[test]
fn a_crash_leaves_no_core_dump_unless_it_is_allowed_while_the_guard_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (listen, admin) = (free_address(), free_address());
    let command = format!("exec {PROGRAM} run --listen {listen} --admin {admin} --upstream http://127.0.0.1:1/mcp");
    let start = || {
        let guard = allowed(folder.path(), &command);
        patiently("it listens", || std::net::TcpStream::connect(listen).is_ok());
        guard
    };
    let guard = start();
    let (soft, hard) = limits(guard.0.id());
    assert_eq!(soft, "1", "a limit of 0 bounds what is written to a file, but not what is piped to a program");
    assert!(!dumps(guard));
    // As docs/operations.md has it.
    let guard = start();
    let pid = guard.0.id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--core=unlimited:"]).status();
    if hard == "unlimited" && raised.is_ok_and(|status| status.success()) {
        assert_eq!(limits(guard.0.id()).0, "unlimited");
        // Where the system dumps nothing at all, neither does the guard.
        let system_dumps = allowed(folder.path(), "kill -ABRT $$").dumps();
        assert_eq!(dumps(guard), system_dumps);
    } else {
        assert!(!dumps(guard));
    }
}

/// A node gets what the guard keeps secret for it, and is asked the same.
#[test]
fn a_node_that_the_guard_runs_leaves_no_core_dump_either() {
    let guard = Guard::with_config(PROGRAM, &json!({"upstreams": [{"command": [NODE]}]}).to_string());
    let _session = Session::open(&guard);
    let children = guard.children();
    assert_eq!(children.len(), 1);
    assert!(children.iter().all(|child| ["0", "1"].contains(&limits(*child).0.as_str())));
}
