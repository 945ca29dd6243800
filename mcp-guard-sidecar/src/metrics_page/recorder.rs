//! The recorder of the process: what each call counts is counted here, and what may go away is kept here; all else by the exporter.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::counter::Striped;
use super::histogram::Times;
use super::{lock, process};

/// Renders what the process has counted.
#[derive(Clone)]
pub struct Page {
    exporter: PrometheusHandle,
    counted: Arc<Counted>,
}

/// The recorder.
pub(super) struct Counting {
    exporter: PrometheusRecorder,
    counted: Arc<Counted>,
}

/// How much there can be of it is bounded by whoever makes labels.
#[derive(Debug, Default)]
struct Counted {
    counters: RwLock<HashMap<Key, Arc<Striped>>>,
    histograms: Families<Times>,
    gauges: Families<AtomicU64>,
}

/// By their names.
type Families<T> = Mutex<BTreeMap<String, Family<T>>>;

/// The series of one name.
#[derive(Debug)]
struct Family<T> {
    help: SharedString,
    by_labels: BTreeMap<String, Arc<T>>,
}

impl<T> Default for Family<T> {
    fn default() -> Self {
        Self { help: SharedString::default(), by_labels: BTreeMap::new() }
    }
}

/// A recorder, and the page of what it counts.
pub(super) fn new() -> (Counting, Page) {
    let exporter = PrometheusBuilder::new().build_recorder();
    let counted = Arc::<Counted>::default();
    let page = Page { exporter: exporter.handle(), counted: Arc::clone(&counted) };
    (Counting { exporter, counted }, page)
}

impl Page {
    /// Everything, in Prometheus's text format 0.0.4.
    pub fn render(&self) -> String {
        let counters = self.counted.counters.read().unwrap_or_else(PoisonError::into_inner);
        counters.values().for_each(|counter| counter.export());
        drop(counters);
        let mut page = self.exporter.render();
        // Writing to a string does not fail.
        for (name, family) in lock(&self.counted.gauges).iter_mut() {
            family.by_labels.retain(|_, gauge| !is_retired(gauge));
            let _ = family.write(name, "gauge", &mut page, |gauge, labels, out| {
                let value = f64::from_bits(gauge.load(Ordering::Relaxed));
                if labels.is_empty() {
                    writeln!(out, "{name} {value}")
                } else {
                    writeln!(out, "{name}{{{labels}}} {value}")
                }
            });
        }
        for (name, family) in lock(&self.counted.histograms).iter() {
            let _ = family.write(name, "histogram", &mut page, |times, labels, out| times.write(name, labels, out));
        }
        process::write(&mut page);
        page
    }
}

/// Whether whatever a gauge was of is gone: it has no number, and nobody has it who could give it one.
fn is_retired(gauge: &Arc<AtomicU64>) -> bool {
    Arc::strong_count(gauge) == 1 && f64::from_bits(gauge.load(Ordering::Relaxed)).is_nan()
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}

impl fmt::Debug for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counting").finish_non_exhaustive()
    }
}

impl<T> Family<T> {
    fn write(
        &self,
        name: &str,
        kind: &str,
        out: &mut String,
        mut series: impl FnMut(&T, &str, &mut String) -> fmt::Result,
    ) -> fmt::Result {
        if self.by_labels.is_empty() {
            return Ok(());
        }
        writeln!(out, "# HELP {name} {}", self.help.replace('\\', "\\\\").replace('\n', "\\n"))?;
        writeln!(out, "# TYPE {name} {kind}")?;
        self.by_labels.iter().try_for_each(|(labels, one)| series(one, labels, out))?;
        out.write_char('\n')
    }
}

impl Recorder for Counting {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.exporter.describe_counter(name, unit, meaning);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, meaning: SharedString) {
        lock(&self.counted.gauges).entry(name.as_str().to_owned()).or_default().help = meaning;
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, meaning: SharedString) {
        lock(&self.counted.histograms).entry(name.as_str().to_owned()).or_default().help = meaning;
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        let counters = &self.counted.counters;
        if let Some(counter) = counters.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Counter::from_arc(Arc::clone(counter));
        }
        let mut counters = counters.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Striped::new(self.exporter.register_counter(key, metadata)));
        Counter::from_arc(Arc::clone(counters.entry(key.clone()).or_insert_with(new)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(of(&self.counted.gauges, key, || AtomicU64::new(0)))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(of(&self.counted.histograms, key, Times::new))
    }
}

/// The series of `key`, or a `new` one.
fn of<T>(families: &Families<T>, key: &Key, new: impl FnOnce() -> T) -> Arc<T> {
    let mut families = lock(families);
    let family = families.entry(key.name().to_owned()).or_default();
    Arc::clone(family.by_labels.entry(labels(key)).or_insert_with(|| Arc::new(new())))
}

/// `name="value"` of each label, with commas between.
fn labels(key: &Key) -> String {
    let label = |label: &metrics::Label| {
        let value = label.value().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{}=\"{value}\"", label.key())
    };
    key.labels().map(label).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use metrics::{counter, describe_histogram, gauge, histogram, with_local_recorder};

    use super::*;

    #[test]
    fn counters_gauges_and_histograms_are_on_one_page() {
        let (recorder, page) = new();
        let counted = Arc::clone(&page.counted);
        with_local_recorder(&recorder, || {
            describe_histogram!("t_seconds", Unit::Seconds, "How long.");
            for _ in 0..3 {
                counter!("c_total", "reason" => "x").increment(2);
                page.render();
            }
            gauge!("g").set(4.0);
            gauge!("g", "of" => "NaN").set(5.0);
            gauge!("g", "of" => "what is gone").set(f64::NAN);
            gauge!("g").increment(1.0);
            histogram!("t_seconds", "label" => "a\"b").record(0.1);
        });
        let page = page.render();
        for line in [
            "c_total{reason=\"x\"} 6",
            "g 5",
            "g{of=\"NaN\"} 5",
            "# HELP t_seconds How long.",
            "# TYPE t_seconds histogram",
            "t_seconds_count{label=\"a\\\"b\"} 1",
        ] {
            assert!(page.lines().any(|other| other == line), "{line} in\n{page}");
        }
        assert!(!page.contains("what is gone"), "{page}");
        assert_eq!(lock(&counted.gauges)["g"].by_labels.len(), 2);
    }
}
