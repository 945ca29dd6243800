//! A recorder of metrics for tests.

use std::sync::{Arc, Mutex};

use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Remembers every gauge and counter that is set, as `name{labels} value`.
#[derive(Clone, Default)]
pub(crate) struct Spy {
    seen: Arc<Mutex<Vec<String>>>,
}

impl Spy {
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

struct Handle {
    spy: Spy,
    key: String,
}

impl Handle {
    fn new(spy: &Spy, key: &Key) -> Arc<Self> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Self { spy: spy.clone(), key: format!("{}{{{}}}", key.name(), labels.join(",")) })
    }

    fn note(&self, value: f64) {
        self.spy.seen.lock().unwrap().push(format!("{} {value}", self.key));
    }
}

impl GaugeFn for Handle {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, value: f64) {
        self.note(value);
    }
}

impl CounterFn for Handle {
    fn increment(&self, value: u64) {
        self.note(value as f64);
    }
    fn absolute(&self, _: u64) {}
}

impl Recorder for Spy {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Handle::new(self, key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Handle::new(self, key))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
