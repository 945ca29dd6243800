//! Links that are cut, lose packets, or are slow: a node behind a pair of virtual interfaces, in network namespaces of the
//! test's own, which nobody else can see. Not every kernel has netem: iptables drops packets, and a token bucket holds them
//! back.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use mcp_guard_tests::peers::{skip_unless, skip_unless_allowed};
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, Reply, Wire, call_tool, patiently, post};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

use crate::{PROGRAM, assert_refused, call, config};

/// Where the node is, in a network that is nothing but this link.
const NODE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 2)), 8000);

/// A link with a node at its far end; this thread, and what it starts, is at the near one.
struct Link {
    near: String,
    far: String,
    node: Option<Upstream>,
}

impl Link {
    /// `None`, with a word, where this process may not make one.
    fn new(of: &str) -> Option<Self> {
        let name = |end: &str| format!("mcp-guard-{}-{of}-{end}", std::process::id());
        let mut link = Self { near: name("near"), far: name("far"), node: None };
        let has = |program: &&str| Command::new(program).arg("-V").output().is_ok();
        let missing = ["ip", "tc", "iptables"].into_iter().find(|program| !has(program));
        if !skip_unless(missing.is_none(), "ip, tc and iptables are installed") {
            return None;
        }
        let wanted = "a process may make network namespaces, with iptables and tc in them (as root)";
        if !skip_unless_allowed(link.is_made(), wanted) {
            return None;
        }
        // A thread stays where it was started, or has gone to.
        let far = link.far.clone();
        link.node = std::thread::spawn(move || go_to(&far).then(|| Upstream::scripted_at(NODE, |_| None)))
            .join()
            .expect("the node starts");
        assert!(go_to(&link.near));
        Some(link)
    }

    fn is_made(&self) -> bool {
        let Self { near, far, .. } = self;
        let steps = [
            format!("ip netns add {near}"),
            format!("ip netns add {far}"),
            format!("ip link add near netns {near} type veth peer name far netns {far}"),
            format!("ip -n {near} addr add 10.77.0.1/30 dev near"),
            format!("ip -n {far} addr add 10.77.0.2/30 dev far"),
            format!("ip -n {near} link set lo up"),
            format!("ip -n {near} link set near up"),
            format!("ip -n {far} link set far up"),
            format!("ip netns exec {near} iptables --list"),
            // It is what the node sends that is held back.
            format!("tc -n {far} qdisc add dev far root tbf rate 1gbit burst 1mb latency 400ms"),
        ];
        steps.iter().all(|step| run(step))
    }

    fn node(&self) -> &Upstream {
        self.node.as_ref().expect("it was started")
    }

    /// Drops packets from the node, or no longer; `which` of them.
    fn drop_packets(&self, is_on: bool, which: &str) {
        let order = if is_on { "--append" } else { "--delete" };
        assert!(run(&format!("iptables {order} INPUT --in-interface near{which} --jump DROP")));
    }

    /// Lets no more than this from the node pass.
    fn set_rate(&self, rate: &str) {
        let tbf = format!("root tbf rate {rate} burst 64kb latency 400ms");
        assert!(run(&format!("tc -n {} qdisc change dev far {tbf}", self.far)));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for name in [&self.near, &self.far] {
            run(&format!("ip netns delete {name}"));
        }
    }
}

/// Takes this thread to a network namespace.
fn go_to(name: &str) -> bool {
    File::open(format!("/run/netns/{name}"))
        .is_ok_and(|space| move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).is_ok())
}

/// Whether a command can be run, and all is well with it.
fn run(command: &str) -> bool {
    let mut words = command.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn guard(timeouts: Value) -> Guard {
    let health = json!({"interval": "200ms", "timeout": "200ms", "unhealthy_after": 1, "healthy_after": 1});
    let upstream = json!({"url": format!("http://{NODE}/mcp"), "timeouts": timeouts, "health": health});
    Guard::with_config(PROGRAM, &config(upstream, &json!({})))
}

fn is_ready(guard: &Guard) -> bool {
    guard.get("/readyz").is_some_and(|ready| ready.status == 200)
}

#[test]
fn a_cut_link_costs_calls_their_time_and_all_goes_on_when_it_is_back() {
    let Some(link) = Link::new("cut") else { return };
    let guard = guard(json!({"connect": "500ms", "first_byte": "1s"}));
    let mut held = Wire::connect(guard.listen);
    held.write(post(guard.listen, &[], call_tool(7, "hold", json!({})).to_string()));
    patiently("a call is with the node", || link.node().calls() == 1);
    link.drop_packets(true, "");
    link.node().release(1);
    assert_refused(&held.message(), "deadline_exceeded", 504);
    patiently("it is known", || !is_ready(&guard));
    // Whether it is given up as unsent or as unanswered is a matter of how often it was tried again.
    let reply = call(&guard, 7, "echo");
    let reason = reply.reason().unwrap_or_default();
    let is_known = ["deadline_exceeded", "breaker_open", "upstream_unavailable"].contains(&reason.as_str());
    assert!(is_known, "{}", reply.text());
    assert_refused(&reply, &reason, if reason == "deadline_exceeded" { 504 } else { 503 });
    link.drop_packets(false, "");
    patiently("it is known that it is back", || is_ready(&guard));
    patiently("calls are answered", || call(&guard, 7, "echo").status == 200);
    patiently("no place is taken", || guard.metric("mcp_guard_in_flight") == 0.0);
}

#[test]
fn a_link_that_loses_packets_costs_time_and_no_answer() {
    let Some(link) = Link::new("lossy") else { return };
    let guard = guard(json!({"connect": "20s", "first_byte": "20s"}));
    link.drop_packets(true, " --match statistic --mode random --probability 0.05");
    let calls = |caller: i64| {
        let mut wire = Wire::connect(guard.listen);
        for id in caller * 100..caller * 100 + 50 {
            wire.write(post(guard.listen, &[], call_tool(id, "echo", json!({"of": id})).to_string()));
            let reply = wire.message();
            let text = json!({"of": id}).to_string();
            assert_eq!(reply.json()["result"]["content"][0]["text"], text, "{}", reply.text());
        }
    };
    std::thread::scope(|scope| (1..=4).for_each(|caller| drop(scope.spawn(move || calls(caller)))));
    assert!(lost_packets() > 0, "none was lost");
    assert_eq!(guard.metric("mcp_guard_requests_total{method=\"tools/call\",outcome=\"ok\"}"), 200.0);
    patiently("no place is taken", || guard.metric("mcp_guard_in_flight") == 0.0);
}

/// How many packets iptables has dropped here.
fn lost_packets() -> u64 {
    let listed = Command::new("iptables").args(["--list", "INPUT", "--verbose", "--exact"]).output().expect("iptables");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let rule = text.lines().find(|line| line.contains("DROP")).expect("a rule");
    rule.split_whitespace().next().expect("a count").parse().expect("a number")
}

#[test]
fn a_slow_link_costs_what_is_too_large_for_it_and_nothing_else() {
    let Some(link) = Link::new("slow") else { return };
    let guard = guard(json!({"connect": "2s", "first_byte": "2s"}));
    let large = |bytes: usize| -> Reply {
        let mut wire = Wire::connect(guard.listen);
        wire.write(post(guard.listen, &[], call_tool(7, "large", json!({"bytes": bytes})).to_string()));
        wire.message()
    };
    link.set_rate("2mbit");
    let whole = large(128 << 10);
    assert_eq!((whole.status, whole.body.len() > 128 << 10), (200, true));
    assert_refused(&large(4 << 20), "deadline_exceeded", 504);
    assert_eq!(call(&guard, 7, "echo").status, 200);
    patiently("no place is taken", || guard.metric("mcp_guard_in_flight") == 0.0);
    link.set_rate("1gbit");
    assert_eq!(large(4 << 20).status, 200);
}
