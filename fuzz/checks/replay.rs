//! Whoever resumes a stream gets what came behind the event that is named: once, in order, and nothing of anybody else's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use mcp_guard::middleware::clock;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::yield_now;

use super::stream::{BYTES_MAX, EVENTS_MAX, Reader, Source};
use super::table::{Found, KEPT, Owner, STREAMS_MAX, Streams};

const OWNERS: [(&str, Option<&str>); 4] = [("a", None), ("a", Some("ada")), ("b", Some("ada")), ("b", None)];
const SESSIONS_MAX: usize = 3;

/// More than comes at once of one stream.
const PIECES_MAX: usize = 256;

/// What is known of a stream by what its clients saw.
struct Known {
    owner: usize,
    is_call: bool,
    /// What its ids begin with.
    prefix: String,
    /// What has the name of this stream, to tell its events from all others.
    tag: usize,
    /// The event with each number that was seen.
    seen: BTreeMap<u64, String>,
    /// How many events a node has sent, for a call that was begun with an event of the guard's own counting that.
    sent: u64,
    source: Option<Sender<Bytes>>,
    reader: Option<(Reader, u64)>,
}

struct World {
    streams: Streams,
    known: Vec<Known>,
    tags: usize,
    largest: usize,
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime");
}

/// Takes each three bytes as something that a node, a client or the guard does.
pub(crate) fn check(data: &[u8]) {
    RUNTIME.with(|runtime| runtime.block_on(play(data)));
}

async fn play(data: &[u8]) {
    let streams = Streams::new(SESSIONS_MAX);
    let mut world = World { streams, known: Vec::new(), tags: 0, largest: 0 };
    for triple in data.chunks_exact(3).take(200) {
        let &[what, which, how] = triple else { continue };
        world.step(what, which, how);
        // What goes on without a client does so now.
        yield_now().await;
        yield_now().await;
    }
    for at in 0..world.known.len() {
        world.read(at, usize::MAX);
    }
    drop(world);
    yield_now().await;
}

fn owner(number: usize) -> Owner {
    let (session, subject) = OWNERS[number];
    Owner { session: HeaderValue::from_static(session), subject: subject.map(Arc::from) }
}

fn source() -> (Sender<Bytes>, Source) {
    let (sender, mut receiver) = channel(PIECES_MAX);
    (sender, Box::pin(futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx))))
}

impl World {
    fn step(&mut self, what: u8, which: u8, how: u8) {
        let at = usize::from(which) % self.known.len().max(1);
        let is_there = !self.known.is_empty();
        match what % 12 {
            0 => self.begin(usize::from(which) % OWNERS.len(), how),
            1..=3 if is_there => self.send(at, how),
            4 | 5 if is_there => self.read(at, usize::from(how)),
            6 if is_there => self.known[at].reader = None,
            7 | 8 if is_there => self.resume(at, how),
            9 if is_there => self.ask_for_what_is_not_theirs(at, how),
            10 if is_there => self.known[at].source = None,
            11 if how == 0 => self.forget(usize::from(which) % OWNERS.len()),
            11 => self.sweep(how),
            _ => {}
        }
        let of = |number| self.known.iter().filter(move |known| known.owner == number).count();
        assert!((0..OWNERS.len()).all(|number| of(number) <= STREAMS_MAX));
        assert!((0..OWNERS.len()).filter(|number| of(*number) > 0).count() <= SESSIONS_MAX);
    }

    fn begin(&mut self, number: usize, how: u8) {
        let theirs = self.known.iter().filter(|known| known.owner == number).count();
        let sessions = (0..OWNERS.len()).filter(|other| self.known.iter().any(|known| known.owner == *other)).count();
        let idle = |known: &Known| known.owner == number && self.is_idle(known);
        let oldest_idle = self.known.iter().position(idle);
        let (is_call, is_primed) = (how % 2 == 1, how % 4 == 3);
        let (sender, source) = source();
        let has_room =
            if theirs == 0 { sessions < SESSIONS_MAX } else { theirs < STREAMS_MAX || oldest_idle.is_some() };
        let reader = self.streams.begin(&owner(number), is_call, || source);
        assert_eq!(reader.is_some(), has_room);
        let Some(mut reader) = reader else { return };
        if theirs == STREAMS_MAX {
            self.known.remove(oldest_idle.expect("one had to go"));
        }
        self.tags += 1;
        // The first event tells the stream's name.
        let first = if is_primed {
            reader.prime();
            String::new()
        } else {
            let first = format!("{}.0.", self.tags);
            sender.try_send(format!("event: message\ndata: {first}\n\n").into()).expect("there is room");
            first
        };
        let Some((id, data)) = poll(&mut reader).flatten() else { panic!("the first event comes") };
        assert_eq!(data, first);
        let (prefix, event) = id.rsplit_once('-').expect("an id of the guard's own");
        assert_eq!(event, "1");
        let (prefix, seen) = (format!("{prefix}-"), BTreeMap::from([(1, data)]));
        assert!(self.known.iter().all(|known| known.prefix != prefix), "each stream has a name of its own");
        let reader = Some((reader, 1));
        let known =
            Known { owner: number, is_call, prefix, tag: self.tags, seen, sent: 1, source: Some(sender), reader };
        self.known.push(known);
    }

    fn is_idle(&self, known: &Known) -> bool {
        let found = self.streams.found(&owner(known.owner), &format!("{}1", known.prefix));
        let Some(Found::Kept(stream, 1)) = found else { panic!("a stream was lost") };
        stream.idle_since().is_some()
    }

    /// Has the node send some events at once, with ids of its own or not, and with lines that end in each way there is.
    fn send(&mut self, at: usize, how: u8) {
        let known = &mut self.known[at];
        let Some(sender) = known.source.as_ref() else { return };
        let count = if how % 8 == 7 { u64::from(how / 2) } else { 1 };
        let length = if how % 8 == 6 { 200 * usize::from(how) } else { usize::from(how % 8) };
        let end = ["\n", "\r\n", "\r"][usize::from(how / 8 % 3)];
        let own = ["", "", "id: 7", "id"][usize::from(how / 32 % 4)];
        let mut events = Vec::new();
        for number in known.sent..known.sent + count {
            let data = format!("{}.{number}.{}", known.tag, "x".repeat(length));
            let own = if own.is_empty() { String::new() } else { format!("{own}{end}") };
            events.push(format!(":c{end}{end}{own}event: message{end}data: {data}{end}{end}"));
        }
        self.largest = self.largest.max(length + 100);
        let is_sent = sender.try_send(events.concat().into()).is_ok();
        // Without a client nobody takes what a stream says that only listens.
        assert!(is_sent || !known.is_call || sender.capacity() == 0);
        if is_sent {
            known.sent += count;
        }
    }

    /// Reads up to so many events of a stream, as its client.
    fn read(&mut self, at: usize, count: usize) {
        let Known { reader: Some((reader, behind)), .. } = &mut self.known[at] else { return };
        let (mut events, first, mut is_all, mut gone) = (Vec::new(), *behind, false, None);
        while events.len() < count && !is_all {
            match poll(reader) {
                Some(Some(event)) => events.push(event),
                Some(None) | None => is_all = true,
            }
        }
        let mut last = first;
        for (id, data) in events {
            let known = &mut self.known[at];
            let number = id.strip_prefix(&known.prefix).expect("an event of this stream");
            let number = u64::from_str_radix(number, 16).expect("a number");
            assert!(number > last, "nothing comes twice");
            let is_theirs = data.split('.').next() == Some(&known.tag.to_string());
            assert!(is_theirs || data.is_empty() && number == 1, "{data} is somebody else's");
            let before = known.seen.insert(number, data.clone());
            assert!(before.is_none_or(|before| before == data), "an event stays what it was");
            if known.is_call && !data.is_empty() {
                // A call says all that it says in one stream, whether its client is there or not.
                assert_eq!(data.split('.').nth(1), Some(&*(number - 1).to_string()));
            }
            if last == first && number > last + 1 {
                gone = Some(number - 1);
            } else {
                assert_eq!(number, last + 1, "nothing is left out");
            }
            last = number;
        }
        let known = &mut self.known[at];
        if let Some(gone) = gone.filter(|_| is_all) {
            // What is kept no longer would, with all behind it, be more than is kept.
            let events = last - gone + 1;
            let is_too_much = events > EVENTS_MAX as u64 || events * self.largest as u64 > BYTES_MAX as u64;
            assert!(is_too_much, "{gone} is gone, and {last} is the last");
        }
        if is_all && first < known.sent && known.is_call {
            assert_eq!(last, known.sent, "all comes that was sent");
        }
        if let Some((_, behind)) = &mut known.reader {
            *behind = last;
        }
    }

    /// Its client comes back, behind an event that it has seen.
    fn resume(&mut self, at: usize, how: u8) {
        let known = &mut self.known[at];
        let numbers: Vec<u64> = known.seen.keys().copied().collect();
        let behind = numbers[numbers.len() - 1 - usize::from(how) % numbers.len().min(100)];
        let id = format!("{}{behind:x}", known.prefix);
        let Some(Found::Kept(stream, event)) = self.streams.found(&owner(known.owner), &id) else {
            panic!("{id} is kept")
        };
        assert_eq!((stream.is_call(), event), (known.is_call, behind));
        let before = known.reader.take();
        if !known.is_call {
            let (sender, source) = source();
            stream.refill(source);
            known.source = Some(sender);
        }
        known.reader = Some((stream.read(behind), behind));
        if let Some((mut before, _)) = before {
            assert_eq!(poll(&mut before), Some(None), "another has taken it over");
        }
        // What is kept, after all was read, is bounded.
        if how >= 128 && known.reader.is_some() {
            self.read(at, usize::MAX);
            self.known[at].reader = None;
            let (mut count, mut bytes) = (0, 0);
            let mut reader = stream.read(0);
            while let Some(Some((id, data))) = poll(&mut reader) {
                (count, bytes) = (count + 1, bytes + id.len() + data.len());
            }
            assert!(
                count <= EVENTS_MAX && (bytes <= BYTES_MAX || count == 1),
                "{count} events, {bytes} bytes are kept"
            );
        }
    }

    fn ask_for_what_is_not_theirs(&self, at: usize, how: u8) {
        let known = &self.known[at];
        let id = format!("{}1", known.prefix);
        for other in (0..OWNERS.len()).filter(|other| *other != known.owner) {
            let is_kept = matches!(self.streams.found(&owner(other), &id), Some(Found::Kept(..)));
            assert!(!is_kept, "it is not theirs");
        }
        let mut damaged = id.into_bytes();
        let place = usize::from(how) % damaged.len();
        damaged[place] = damaged[place].wrapping_add(how | 1);
        let Ok(damaged) = String::from_utf8(damaged) else { return };
        if let Some(Found::Kept(stream, _)) = self.streams.found(&owner(known.owner), &damaged) {
            let is_theirs = |known: &Known| known.prefix.contains(&format!("{:016x}", stream.id));
            let mut theirs = self.known.iter().filter(|other| other.owner == known.owner);
            assert!(theirs.any(is_theirs), "{damaged} is nobody's");
        }
    }

    fn forget(&mut self, number: usize) {
        self.streams.forget(&owner(number));
        self.known.retain(|known| known.owner != number);
    }

    /// Time passes: enough, or nearly.
    fn sweep(&mut self, how: u8) {
        let now = clock::now();
        let is_enough = how % 2 == 1;
        let idle: Vec<bool> = self.known.iter().map(|known| self.is_idle(known)).collect();
        self.streams.sweep(if is_enough { now + KEPT } else { now + KEPT - Duration::from_secs(60) });
        let mut idle = idle.into_iter();
        self.known.retain(|_| !(is_enough && idle.next() == Some(true)));
        self.known.iter().for_each(|known| _ = self.is_idle(known));
    }
}

/// The next event, its id and its data, as a client reads it: `None` if none is there yet, `Some(None)` at the end.
fn poll(reader: &mut Reader) -> Option<Option<(String, String)>> {
    let Poll::Ready(event) = reader.poll_next(&mut Context::from_waker(Waker::noop())) else { return None };
    let Some(event) = event else { return Some(None) };
    let text = String::from_utf8(event.to_vec()).expect("text");
    let (mut id, mut data) = (String::new(), String::new());
    for line in text.replace("\r\n", "\n").split(['\r', '\n']) {
        match line.split_once(':').unwrap_or((line, "")) {
            ("id", value) => id = value.trim_start().to_owned(),
            ("data", value) => data = value.trim_start().to_owned(),
            _ => {}
        }
    }
    Some(Some((id, data)))
}
