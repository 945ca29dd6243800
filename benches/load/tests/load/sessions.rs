//! Sessions, calls and streams against a real server.

use crate::harness::server::{Habits, Server};
use crate::harness::{clean, counted};

#[test]
fn sessions_are_opened_called_in_and_ended() {
    let server = Server::start(Habits::default());
    let report = clean(counted(&server.url, 4, 25));
    assert_eq!((report.total.calls, report.total.calls_failed), (100, 0));
    assert_eq!((report.sessions.opened, report.sessions.ended, report.sessions.open), (4, 4, 0));
    assert_eq!(server.sessions_left(), 0);
}
