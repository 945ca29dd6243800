//! What the system has no more of: descriptors, room on a disk, readers of the log, places to write to. The guard serves on,
//! and all is as before when there is some again.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use mcp_guard_tests::peers::skip_unless_allowed;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, Reply, Wire, call_tool, patiently, post, request};
use serde_json::{Value, json};

use crate::processes::ticks;
use crate::{PROGRAM, assert_refused, assert_settled, call, config, guarded};

/// A program that does `before` and then is the guard, with its arguments and `redirected`.
pub(crate) fn starter(folder: &Path, before: &str, redirected: &str) -> String {
    let file = folder.join("guard");
    let script = format!("#!/bin/sh\nset -e\n{before}\nexec {PROGRAM} \"$@\" {redirected}\n");
    fs::write(&file, script).expect("it is written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it can be run");
    file.to_str().expect("a plain path").to_owned()
}

/// The same in a view of the file system of its own; `None`, with a word, where this process may not make one.
pub(crate) fn secluded(folder: &Path, before: &str, redirected: &str) -> Option<String> {
    let may = Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success());
    if !skip_unless_allowed(may, "a process may have mounts of its own (unshare --mount, as root)") {
        return None;
    }
    let apart = "test -n \"$MCP_GUARD_APART\" || MCP_GUARD_APART=1 exec unshare --mount \"$0\" \"$@\"";
    Some(starter(folder, &format!("{apart}\n{before}"), redirected))
}

/// A guard that logs to `output`, in front of `node`.
fn logging(program: &str, output: &str, node: &Upstream) -> Guard {
    let mut config: Value = serde_json::from_str(&config(json!({"url": node.url()}), &json!({}))).expect("JSON");
    config["telemetry"] = json!({"logs": {"output": output}});
    config["guard"]["validation"] = json!({});
    Guard::with_config(program, &config.to_string())
}

/// A call that is refused, of which the log has a line of 8 KiB, and another one that is served.
fn refused_and_served(guard: &Guard) {
    let mut wire = Wire::connect(guard.listen);
    let params = json!({"name": "x".repeat(8000), "arguments": 1});
    wire.write(post(guard.listen, &[], request(7, "tools/call", params).to_string()));
    let reply = wire.message();
    assert_eq!((reply.reason().as_deref(), &reply.json()["id"]), (Some("invalid_params"), &json!(7)));
    let served = call(guard, 1, "echo");
    assert_eq!(served.status, 200, "{}", served.text());
}

fn dropped(guard: &Guard, reason: &str) -> f64 {
    guard.metric(&format!("mcp_guard_log_lines_dropped_total{{reason=\"{reason}\"}}"))
}

#[test]
fn nobody_waits_for_a_log_that_nobody_reads() {
    let node = Upstream::start();
    // The test holds the other end of this pipe.
    let mut guard = logging(PROGRAM, "stdout", &node);
    patiently("there is no room for lines any more", || {
        refused_and_served(&guard);
        dropped(&guard, "full") > 0.0
    });
    // Whoever reads again finds what was kept, and what comes from then on.
    let text = guard.output_until("\"message\":\"refused\"");
    assert!(text.contains("\"message\":\"serving\""), "{text}");
    guard.signal("TERM");
    assert_eq!(guard.wait(), Some(0), "it ends without a reader, too");
}

#[test]
fn who_is_cut_off_keeps_no_guard_whose_log_nobody_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    let pipe = pipe.to_str().expect("a plain path");
    let node = Upstream::start();
    // It has both ends itself, and reads neither.
    let program = starter(folder.path(), &format!("mkfifo {pipe}\nexec 3<>{pipe}"), "2>&3");
    let mut guard = logging(&program, "stderr", &node);
    let mut held = Wire::connect(guard.listen);
    held.write(post(guard.listen, &[], call_tool(8, "hold", json!({})).to_string()));
    patiently("there is no room for lines any more", || {
        refused_and_served(&guard);
        dropped(&guard, "full") > 0.0
    });
    guard.signal("TERM");
    // Of two that wait to be heard, the system makes one.
    patiently("it drains", || guard.get("/readyz").is_none_or(|reply| reply.status == 503));
    guard.signal("TERM");
    assert_eq!(guard.wait(), Some(1), "it ends, though its last word goes nowhere");
}

#[test]
fn a_log_on_a_full_disk_costs_its_lines_and_no_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Upstream::start();
    let guard = logging(&starter(folder.path(), "", "2>/dev/full"), "stderr", &node);
    patiently("lines are lost", || {
        refused_and_served(&guard);
        dropped(&guard, "failed") > 3.0
    });
}

#[test]
fn a_log_is_written_again_when_its_disk_has_room_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let disk = disk.to_str().expect("a plain path");
    let mount = format!("mount -t tmpfs -o size=32k none {disk}");
    let Some(program) = secluded(folder.path(), &mount, &format!("2>>{disk}/log")) else { return };
    let node = Upstream::start();
    let guard = logging(&program, "stderr", &node);
    patiently("the disk is full", || {
        refused_and_served(&guard);
        dropped(&guard, "failed") > 0.0
    });
    let log = format!("/proc/{}/root{disk}/log", guard.pid());
    fs::write(&log, "").expect("the log is emptied");
    patiently("there are lines again", || {
        refused_and_served(&guard);
        fs::read_to_string(&log).expect("a log").contains("\"message\":\"refused\"")
    });
}

#[test]
fn a_log_whose_reader_is_gone_costs_its_lines_and_no_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let program = starter(folder.path(), "", &format!("2>{}", pipe.display()));
    let node = Upstream::start();
    let reader = std::thread::spawn(move || {
        let mut line = String::new();
        BufReader::new(fs::File::open(pipe).expect("a pipe")).read_line(&mut line).map(|_| line)
    });
    let guard = logging(&program, "stderr", &node);
    assert!(reader.join().expect("it has read").expect("a line").starts_with('{'));
    patiently("lines are lost", || {
        refused_and_served(&guard);
        dropped(&guard, "failed") > 3.0
    });
}

#[test]
fn a_guard_that_may_write_nowhere_serves_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(program) = secluded(folder.path(), "mount --bind / /\nmount -o remount,ro,bind /", "2</dev/null") else {
        return;
    };
    let node = Upstream::start();
    let guard = logging(&program, "stderr", &node);
    let written = Path::new("/proc").join(guard.pid().to_string()).join("root").join("written");
    assert_eq!(fs::write(written, "").map_err(|error| error.kind()), Err(std::io::ErrorKind::ReadOnlyFilesystem));
    for _ in 0..20 {
        refused_and_served(&guard);
    }
    assert_eq!(guard.order("/reload").status, 200, "the config is read all the same");
}

/// Sets how many files a process may have open.
fn limit_files(pid: u32, files: &str) {
    let status = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={files}:")]).status();
    assert!(status.expect("prlimit runs").success());
}

/// Asks on a kept connection.
fn ask(wire: &mut Wire, guard: &Guard, tool: &str) -> Reply {
    wire.write(post(guard.listen, &[], call_tool(7, tool, json!({})).to_string()));
    wire.message()
}

#[test]
fn without_descriptors_open_connections_go_on_and_others_are_served_when_there_are_some_again() {
    let node = Upstream::start();
    let guard = guarded(json!({"url": node.url(), "timeouts": {"first_byte": "1500ms"}}), &json!({}));
    let mut kept = Wire::connect(guard.listen);
    assert_eq!(ask(&mut kept, &guard, "echo").status, 200);
    limit_files(guard.pid(), "3");
    let mut waiting: Vec<Wire> = (0..50).map(|_| Wire::connect(guard.listen)).collect();
    for _ in 0..100 {
        assert_eq!(ask(&mut kept, &guard, "echo").status, 200);
    }
    let before = ticks(guard.pid());
    assert_refused(&ask(&mut kept, &guard, "hold"), "deadline_exceeded", 504);
    let used = ticks(guard.pid()) - before;
    assert!(used < 50, "{used} hundredths of a second in 1.5 s: it asks for connections again and again");
    // With that its connection to the node is gone, and there is no descriptor for another.
    assert_refused(&ask(&mut kept, &guard, "echo"), "upstream_unavailable", 503);
    limit_files(guard.pid(), "4096");
    assert_eq!(ask(&mut kept, &guard, "echo").status, 200);
    for wire in &mut waiting {
        assert_eq!(ask(wire, &guard, "echo").status, 200);
    }
    assert_settled(&guard, "unreachable", 1.0);
    assert_settled(&guard, "timed_out", 1.0);
}
