//! What it costs to get a place in the queue, and to give it back.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use divan::Bencher;
use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::middleware::clock;
use mcp_guard::outcome::Outcome;
use mcp_guard::queue::{NodeQueue, Place, QueuePolicy};
use mcp_guard::revision::Revision;

fn main() {
    divan::main();
}

/// By the number of calls that hold a place meanwhile.
#[divan::bench(args = [0, 16])]
fn admit_and_release(bencher: Bencher<'_, '_>, in_flight: usize) {
    let call = call();
    let mut queue: NodeQueue<()> = NodeQueue::new(QueuePolicy::default(), &[]);
    let _held: Vec<Place> = (0..in_flight).map_while(|_| queue.admit(&call, clock::now())).collect();
    bencher.bench_local(|| {
        let place = queue.admit(&call, clock::now()).unwrap();
        queue.finish(place, Some((&call, Outcome::Ok)), clock::now());
        queue.take_notices()
    });
}

/// A full queue: one waits, and gets the place that comes free.
#[divan::bench]
fn wait_and_be_told(bencher: Bencher<'_, '_>) {
    let (call, one) = (call(), std::num::NonZeroU32::MIN);
    let mut queue: NodeQueue<()> = NodeQueue::new(QueuePolicy::fixed(one).unwrap(), &[]);
    let mut place = queue.admit(&call, clock::now());
    bencher.bench_local(|| {
        queue.wait(&call, None, (), clock::now()).unwrap();
        queue.finish(place.take().unwrap(), Some((&call, Outcome::Ok)), clock::now());
        place = queue.take_notices().pop().unwrap().word.ok();
    });
}

fn call() -> Call {
    let mut call = Call::new(Kind::Request, Method::new(Method::TOOLS_CALL), Revision::V2025_11_25);
    call.target = Some("echo".into());
    call
}
