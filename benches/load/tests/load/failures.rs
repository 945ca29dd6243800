//! Each kind of failure is seen and counted, and the run goes on.

use std::net::TcpListener;
use std::time::Duration;

use mcp_load::{Failure, PlanSpec, Report};
use serde_json::json;

use crate::harness::liar::{Liar, Lie, Said, echo, events, in_session, say, status};
use crate::harness::{clean, counted, phase, report};

/// What came of ten calls of one session, all but the first and the last of which were lied to.
#[track_caller]
fn lied_to(lie: Lie, expected: Failure) -> Report {
    let liar = Liar::start(lie);
    seen(counted(&liar.url, 1, 10), expected)
}

#[track_caller]
fn seen(spec: PlanSpec, expected: Failure) -> Report {
    let report = report(spec);
    assert_eq!((report.total.calls, report.total.calls_failed), (10, 8), "{report}");
    assert_eq!((report.failures.call.of(expected), report.failures.total()), (8, 8), "{report}");
    assert!(!report.is_clean());
    report
}

fn is_honest(number: usize) -> bool {
    [0, 9].contains(&number)
}

#[test]
fn the_answer_to_another_call_is_a_wrong_id() {
    fn lie(number: usize, call: &serde_json::Value) -> Said {
        let mut answer = echo(call);
        if !is_honest(number) {
            answer["id"] = json!(call["id"].as_u64().unwrap() + 1);
        }
        say(answer)
    }
    lied_to(lie, Failure::WrongId);
}

#[test]
fn the_text_of_another_call_is_wrong_content() {
    fn lie(number: usize, call: &serde_json::Value) -> Said {
        let mut answer = echo(call);
        if !is_honest(number) {
            let text = &mut answer["result"]["content"][0]["text"];
            // The session is in digits 4 to 12.
            *text = json!(text.as_str().unwrap().replacen("00000000", "00000001", 1));
        }
        say(answer)
    }
    lied_to(lie, Failure::WrongContent);
}

#[test]
fn an_answer_in_another_session_is_a_wrong_session() {
    lied_to(
        |number, call| Said::Answer(in_session(if is_honest(number) { "one" } else { "two" }, echo(call))),
        Failure::WrongSession,
    );
}

#[test]
fn a_json_rpc_error_is_counted_by_its_code() {
    fn lie(number: usize, call: &serde_json::Value) -> Said {
        let error = json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32603, "message": "no"}});
        say(if is_honest(number) { echo(call) } else { error })
    }
    lied_to(lie, Failure::JsonRpc(-32603));
}

#[test]
fn a_result_that_says_it_is_an_error_is_a_tool_error() {
    fn lie(number: usize, call: &serde_json::Value) -> Said {
        let mut answer = echo(call);
        answer["result"]["isError"] = json!(!is_honest(number));
        say(answer)
    }
    lied_to(lie, Failure::ToolError);
}

#[test]
fn a_status_is_counted_by_itself() {
    let report = lied_to(
        |number, call| if is_honest(number) { say(echo(call)) } else { Said::Answer(status(503)) },
        Failure::Status(503),
    );
    assert_eq!(report.sessions.opened, 1);
}

#[test]
fn what_is_no_json_rpc_is_malformed() {
    lied_to(|number, call| if is_honest(number) { say(echo(call)) } else { say("{}") }, Failure::Malformed);
}

#[test]
fn a_session_that_is_gone_is_opened_anew() {
    let report = lied_to(
        |number, call| if is_honest(number) { say(echo(call)) } else { Said::Answer(status(404)) },
        Failure::Status(404),
    );
    assert_eq!((report.sessions.opened, report.sessions.lost, report.sessions.end_refused), (9, 8, 1));
}

#[test]
fn a_connection_that_breaks_is_a_reset_and_replaced() {
    let report = lied_to(|number, call| if is_honest(number) { say(echo(call)) } else { Said::Closed }, Failure::Reset);
    assert_eq!((report.sessions.opened, report.sessions.reconnects), (1, 8));
}

#[test]
fn a_connection_that_was_closed_between_two_calls_is_replaced_without_a_failure() {
    let liar = Liar::start(|_, call| {
        let mut answer = in_session("one", echo(call));
        answer.headers_mut().insert("connection", "close".parse().unwrap());
        Said::Answer(answer)
    });
    let report = clean(counted(&liar.url, 1, 5));
    // Four times for a call, and once to end the session.
    assert_eq!(report.sessions.reconnects, 5, "{report}");
}

#[test]
fn a_call_without_an_answer_is_a_timeout() {
    let liar = Liar::start(|number, call| if is_honest(number) { say(echo(call)) } else { Said::Pending });
    let mut spec = counted(&liar.url, 1, 10);
    spec.timeout = Duration::from_millis(150);
    seen(spec, Failure::Timeout);
}

#[test]
fn what_was_due_while_a_call_hung_is_late_in_an_open_loop() {
    let liar = Liar::start(|number, call| if number == 0 { Said::Pending } else { say(echo(call)) });
    let mut spec = counted(&liar.url, 1, 1);
    spec.calls_max = None;
    spec.phases = vec![phase(1, 1_000, Some(100))];
    spec.timeout = Duration::from_millis(400);
    let report = report(spec);
    // The server answered each of the others at once.
    assert!(report.total.latency_us.max >= 350_000, "{report}");
    assert_eq!((report.failures.call.of(Failure::Timeout), report.failures.total()), (1, 1), "{report}");
}

#[test]
fn a_server_that_is_not_there_is_a_failure_to_connect() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut spec = counted(&format!("http://{nobody}/mcp"), 2, 1);
    spec.phases = vec![phase(2, 150, None)];
    let report = report(spec);
    assert_eq!(report.total.calls, 0);
    assert!(report.failures.open.of(Failure::Connect) >= 4, "{report}");
    assert!(!report.is_clean());
}

#[test]
fn the_answer_is_found_among_the_events_of_a_stream() {
    fn lie(_: usize, call: &serde_json::Value) -> Said {
        let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}});
        let request = json!({"jsonrpc": "2.0", "id": call["id"], "method": "ping"});
        Said::Answer(events(&[progress, request, echo(call)]))
    }
    let liar = Liar::start(lie);
    assert_eq!(clean(counted(&liar.url, 2, 5)).total.calls, 10);
}

#[test]
fn a_server_that_refuses_to_end_sessions_is_fine() {
    let liar = Liar::start(|_, call| say(echo(call)));
    assert_eq!(clean(counted(&liar.url, 3, 2)).sessions.end_refused, 3);
}
