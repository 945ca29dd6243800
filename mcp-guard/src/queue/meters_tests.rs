//! What a recorder of metrics gets to see.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::gate::Gate;
use super::policy::QueuePolicy;
use super::testing::call;
use crate::middleware::clock;
use crate::outcome::Outcome;

/// Remembers where each gauge stands, and how many times each histogram was written to.
#[derive(Default)]
struct Book {
    gauges: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    waits: Arc<Waits>,
}

#[derive(Default)]
struct Waits(AtomicU64);

impl metrics::HistogramFn for Waits {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Book {
    fn gauge(&self, name: &str) -> f64 {
        f64::from_bits(self.gauges.lock().unwrap()[name].load(Ordering::Relaxed))
    }

    fn gauges(&self) -> [f64; 3] {
        ["mcp_guard_in_flight", "mcp_guard_queue_depth", "mcp_guard_concurrency_limit"].map(|name| self.gauge(name))
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut gauges = self.gauges.lock().unwrap();
        Gauge::from_arc(Arc::clone(gauges.entry(key.name().to_owned()).or_default()))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        assert_eq!(key.name(), "mcp_guard_queue_wait_seconds");
        Histogram::from_arc(Arc::clone(&self.waits))
    }
}

#[tokio::test(start_paused = true)]
async fn gauges_follow_the_queues_and_go_back_to_nothing_with_them() {
    let book = Book::default();
    let _here = metrics::set_default_local_recorder(&book);
    let new =
        |concurrency| Arc::new(Gate::new(QueuePolicy::fixed(NonZeroU32::new(concurrency).unwrap()).unwrap(), &[]));
    let (one, other) = (new(1), new(3));
    let message = call("ping");
    let running = one.enter(&message, clock::now()).unwrap();
    let _running_too = other.enter(&message, clock::now()).unwrap();
    assert_eq!(book.gauges(), [2.0, 0.0, 4.0]);

    let came = clock::now();
    assert!(one.enter(&message, came).is_none());
    let mut waits = Box::pin(one.wait(&message, None, came));
    assert!(futures_util::FutureExt::now_or_never(&mut waits).is_none());
    assert_eq!(book.gauges(), [2.0, 1.0, 4.0]);

    running.settle(&message, Outcome::Ok, clock::now());
    drop(waits.await.unwrap());
    assert_eq!(book.gauges(), [1.0, 0.0, 4.0]);
    assert_eq!(book.waits.0.load(Ordering::Relaxed), 3, "each call that was admitted");

    drop(one);
    assert_eq!(book.gauges(), [1.0, 0.0, 3.0]);
}
