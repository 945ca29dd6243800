//! Streams with sources of the test's own, in virtual time.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use mcp_guard::middleware::clock;
use proptest::prelude::*;
use tokio::sync::mpsc::{Sender, channel};

use super::stream::{BYTES_MAX, EVENTS_MAX};
use super::table::{KEPT, STREAMS_MAX};
use super::*;

fn owner(session: &str, subject: Option<&str>) -> Owner {
    Owner { session: HeaderValue::try_from(session).unwrap(), subject: subject.map(Into::into) }
}

fn source() -> (Sender<Bytes>, Source) {
    let (sender, mut receiver) = channel(256);
    (sender, Box::pin(futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx))))
}

/// A stream of the session `a`.
fn stream(streams: &Streams, is_call: bool) -> (Sender<Bytes>, Reader) {
    let (sender, source) = source();
    (sender, streams.begin(&owner("a", None), is_call, || source).unwrap())
}

fn event(number: usize) -> Bytes {
    format!("event: message\ndata: {number}\n\n").into()
}

/// Resumes a stream that answers a call.
fn resume(streams: &Streams, stream: u64, behind: u64) -> Reader {
    streams.find(&owner("a", None), stream).unwrap().read(behind)
}

/// Resumes a stream that listens, with what comes from now on.
fn listen_on(streams: &Streams, stream: u64, behind: u64) -> (Sender<Bytes>, Reader) {
    let (sender, source) = source();
    let stream = streams.find(&owner("a", None), stream).unwrap();
    stream.refill(source);
    (sender, stream.read(behind))
}

/// What is there to be read now; `None` behind it if that is all there will be.
fn read(reader: &mut Reader) -> Vec<Option<String>> {
    let mut read = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(event) = reader.poll_next(&mut cx) {
        let is_end = event.is_none();
        read.push(event.map(|event| String::from_utf8(event.to_vec()).unwrap()));
        if is_end {
            break;
        }
    }
    read
}

fn data(event: &str) -> &str {
    event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap()
}

fn position(event: &str) -> (u64, u64) {
    stream::parse_id(event.lines().find_map(|line| line.strip_prefix("id: ")).unwrap()).unwrap()
}

fn datas(events: &[Option<String>]) -> Vec<&str> {
    events.iter().flatten().map(|event| data(event)).collect()
}

#[test]
fn the_seeds_of_the_fuzz_target_are_resumed_well() {
    crate::fuzz_seeds::for_each("replay", fuzz_check::check);
}

#[tokio::test]
async fn a_stream_goes_on_behind_the_last_event_that_was_seen() {
    let streams = Streams::new(10);
    let (sender, mut reader) = stream(&streams, false);
    for number in 0..3 {
        sender.try_send(event(number)).unwrap();
    }
    let first = read(&mut reader);
    assert_eq!(datas(&first), ["0", "1", "2"]);
    let (id, second) = position(first[1].as_ref().unwrap());
    drop(reader);
    assert!(sender.is_closed(), "what comes meanwhile has to wait elsewhere");
    let (sender, mut resumed) = listen_on(&streams, id, second);
    sender.try_send(event(3)).unwrap();
    assert_eq!(datas(&read(&mut resumed)), ["2", "3"]);
}

#[tokio::test]
async fn a_call_goes_on_without_its_client() {
    let streams = Streams::new(10);
    let (sender, mut reader) = stream(&streams, true);
    reader.prime();
    let (id, number) = position(read(&mut reader)[0].as_ref().unwrap());
    drop(reader);
    sender.try_send(event(1)).unwrap();
    drop(sender);
    tokio::task::yield_now().await;
    let mut resumed = resume(&streams, id, number);
    let rest = read(&mut resumed);
    assert_eq!((datas(&rest), rest.last()), (vec!["1"], Some(&None)));
}

#[tokio::test]
async fn a_stream_is_nobodys_but_its_owners() {
    let streams = Streams::new(10);
    let (_sender, source) = source();
    let reader = streams.begin(&owner("a", Some("ada")), true, || source).unwrap();
    let id = reader.stream_id();
    for other in [owner("b", Some("ada")), owner("a", Some("eve")), owner("a", None)] {
        assert!(streams.find(&other, id).is_none(), "{other:?}");
    }
    assert!(streams.find(&owner("a", Some("ada")), id.wrapping_add(1)).is_none());
    assert!(streams.find(&owner("a", Some("ada")), id).is_some());
}

#[tokio::test]
async fn who_resumes_takes_the_stream_over() {
    let streams = Streams::new(10);
    let (sender, mut first) = stream(&streams, true);
    sender.try_send(event(1)).unwrap();
    let (id, number) = position(read(&mut first)[0].as_ref().unwrap());
    let mut second = resume(&streams, id, number);
    sender.try_send(event(2)).unwrap();
    assert_eq!(read(&mut first), [None]);
    drop(first);
    assert_eq!(datas(&read(&mut second)), ["2"]);
}

#[tokio::test]
async fn events_that_the_node_numbers_stay_as_they_are() {
    let streams = Streams::new(10);
    let (sender, mut reader) = stream(&streams, true);
    sender.try_send(":\n\nid: 7\ndata: x\n\n".into()).unwrap();
    sender.try_send("data: y\n\n".into()).unwrap();
    let read = read(&mut reader);
    assert_eq!(read, [Some(":\n\nid: 7\ndata: x\n\n".into()), Some("data: y\n\n".into())]);
    drop(reader);
    assert!(sender.is_closed(), "the node is told that its client is gone");
}

#[tokio::test]
async fn a_client_that_is_there_gets_all_however_many_come_at_once() {
    let streams = Streams::new(10);
    let (sender, mut reader) = stream(&streams, false);
    let burst: Vec<Bytes> = (0..3 * EVENTS_MAX).map(event).collect();
    sender.try_send(burst.concat().into()).unwrap();
    assert_eq!(datas(&read(&mut reader)), (0..3 * EVENTS_MAX).map(|number| number.to_string()).collect::<Vec<_>>());
    let id = reader.stream_id();
    drop(reader);
    let (_sender, mut resumed) = listen_on(&streams, id, 0);
    assert_eq!(read(&mut resumed).len(), EVENTS_MAX, "kept are no more than may be");
}

#[tokio::test]
async fn a_stream_that_was_primed_has_one_numbering() {
    let marked = "\u{feff}data: x\n\n";
    for own in
        [marked, "id: own-7\nevent: message\ndata: x\n\n", "event: message\rid:7\rdata: x\r\r", "data: x\r\nid\r\n\r\n"]
    {
        let streams = Streams::new(10);
        let (sender, mut reader) = stream(&streams, true);
        reader.prime();
        sender.try_send(own.into()).unwrap();
        let read = read(&mut reader);
        let second = read[1].as_ref().unwrap();
        let ids = second.split(['\r', '\n']).filter(|line| line.starts_with("id")).count();
        assert_eq!((data(second), ids, position(second).1), ("x", 1, 2), "{own:?}");
    }
}

#[test]
fn another_process_has_other_streams() {
    let first = |streams: Streams| {
        let (_sender, reader) = stream(&streams, true);
        reader.stream_id()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    assert_ne!(first(Streams::new(1)), first(Streams::new(1)));
}

#[tokio::test]
async fn of_many_events_the_last_ones_are_kept_and_the_last_one_always() {
    let streams = Streams::new(10);
    let (sender, mut reader) = stream(&streams, true);
    let id = reader.stream_id();
    for number in 0..EVENTS_MAX + 10 {
        sender.try_send(event(number)).unwrap();
    }
    assert_eq!(read(&mut reader).len(), EVENTS_MAX + 10);
    drop(reader);
    let mut resumed = resume(&streams, id, 0);
    assert_eq!(datas(&read(&mut resumed))[0], "10");
    let large = format!("data: {}\n\n", "x".repeat(2 * BYTES_MAX));
    sender.try_send(large.into()).unwrap();
    drop(resumed);
    let mut resumed = resume(&streams, id, 0);
    assert_eq!(read(&mut resumed).last().unwrap().as_ref().map(|event| data(event).len()), Some(2 * BYTES_MAX));
    drop(resumed);
    let mut resumed = resume(&streams, id, 0);
    assert_eq!(read(&mut resumed).len(), 1, "it alone is more than is kept");
}

#[tokio::test]
async fn a_session_has_so_many_streams_and_the_oldest_without_a_client_goes_first() {
    let streams = Streams::new(1);
    let mut open: Vec<_> = (0..STREAMS_MAX).map(|_| stream(&streams, true)).collect();
    let (_sender, next) = source();
    assert!(streams.begin(&owner("a", None), true, || next).is_none());
    assert!(streams.begin(&owner("b", None), true, || unreachable!("no place")).is_none());
    let (first, gone) = (open[0].1.stream_id(), open[3].1.stream_id());
    drop(open.remove(3).1);
    let _next = stream(&streams, true);
    assert_eq!(streams.len(), STREAMS_MAX);
    assert!(streams.find(&owner("a", None), gone).is_none());
    assert!(streams.find(&owner("a", None), first).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_client_is_kept_for_a_time() {
    let streams = Streams::new(10);
    let (_sender, reader) = stream(&streams, false);
    let (_other, _read) = stream(&streams, false);
    drop(reader);
    tokio::time::sleep(KEPT - Duration::from_secs(1)).await;
    streams.sweep(clock::now());
    assert_eq!(streams.len(), 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    streams.sweep(clock::now());
    assert_eq!(streams.len(), 1, "one has its client still");
    streams.forget(&owner("a", None));
    assert_eq!(streams.len(), 0);
}

proptest! {
    /// Wherever the connection breaks, and however often: all events come, in their order, once.
    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(pieces in prop::collection::vec(1..100_usize, 1..12), cuts in prop::collection::vec(0..80_usize, 0..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let streams = Streams::new(1);
        let (sender, mut reader) = stream(&streams, true);
        let id = reader.stream_id();
        let mut number = 0;
        for piece in pieces {
            let events: Vec<Bytes> = (number..number + piece).map(event).collect();
            sender.try_send(events.concat().into()).unwrap();
            number += piece;
        }
        drop(sender);
        let mut seen: Vec<String> = Vec::new();
        let mut behind = 0;
        let mut cx = Context::from_waker(Waker::noop());
        for cut in cuts {
            for _ in 0..cut {
                let Poll::Ready(Some(event)) = reader.poll_next(&mut cx) else { break };
                let event = String::from_utf8(event.to_vec()).unwrap();
                behind = position(&event).1;
                seen.push(data(&event).to_owned());
            }
            drop(reader);
            reader = resume(&streams, id, behind);
        }
        seen.extend(read(&mut reader).iter().flatten().map(|event| data(event).to_owned()));
        prop_assert_eq!(seen, (0..number).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}
