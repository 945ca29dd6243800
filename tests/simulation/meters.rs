//! A recorder that looks at each gauge whenever it changes: bounds hold at every step, not only when somebody asks.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// What has been counted in this process. Runs follow each other: the library looks its handles up once.
static METERS: LazyLock<Mutex<Meters>> = LazyLock::new(|| {
    metrics::set_global_recorder(Looks).expect("no other recorder");
    Mutex::default()
});

#[derive(Default)]
struct Meters {
    gauges: BTreeMap<String, f64>,
    counters: BTreeMap<String, u64>,
    bounds: BTreeMap<&'static str, f64>,
    broken: Vec<String>,
}

fn lock() -> MutexGuard<'static, Meters> {
    METERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins anew: from now on these gauges stay at or below these bounds.
pub(crate) fn begin(bounds: &[(&'static str, f64)]) {
    let mut meters = lock();
    meters.gauges.values_mut().for_each(|value| *value = 0.0);
    meters.counters.values_mut().for_each(|count| *count = 0);
    meters.bounds = bounds.iter().copied().collect();
    meters.broken.clear();
}

/// What has gone over its bound.
pub(crate) fn broken() -> Vec<String> {
    lock().broken.clone()
}

/// What a gauge shows.
pub(crate) fn gauge(name: &str) -> f64 {
    lock().gauges.get(name).copied().unwrap_or_default()
}

/// The sum of the counters of `name` that have this label.
pub(crate) fn counted(name: &str, label: (&str, &str)) -> u64 {
    let label = format!("{}={},", label.0, label.1);
    let meters = lock();
    let counts = meters.counters.iter().filter(|(key, _)| key.starts_with(name) && key.contains(&label));
    counts.map(|(_, count)| count).sum()
}

struct Looks;

/// By its name and labels, each of them `name=value,`.
struct Handle(String);

impl Handle {
    fn of(key: &Key) -> Arc<Self> {
        let labels: String = key.labels().map(|label| format!("{}={},", label.key(), label.value())).collect();
        Arc::new(Self(if labels.is_empty() { key.name().to_owned() } else { format!("{} {labels}", key.name()) }))
    }

    fn change(&self, change: impl FnOnce(f64) -> f64) {
        let mut meters = lock();
        let value = meters.gauges.entry(self.0.clone()).or_default();
        *value = change(*value);
        let value = *value;
        let bound = meters.bounds.get(&*self.0).copied().unwrap_or(f64::INFINITY);
        if !(0.0..=bound).contains(&value) {
            let what = format!("I5: {} is {value}, and at most {bound}", self.0);
            meters.broken.push(what);
        }
    }
}

impl GaugeFn for Handle {
    fn increment(&self, by: f64) {
        self.change(|value| value + by);
    }

    fn decrement(&self, by: f64) {
        self.change(|value| value - by);
    }

    fn set(&self, value: f64) {
        // A gauge that has gone is none.
        self.change(|_| if value.is_nan() { 0.0 } else { value });
    }
}

impl CounterFn for Handle {
    fn increment(&self, by: u64) {
        *lock().counters.entry(self.0.clone()).or_default() += by;
    }

    fn absolute(&self, value: u64) {
        lock().counters.insert(self.0.clone(), value);
    }
}

impl Recorder for Looks {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Handle::of(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Handle::of(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
