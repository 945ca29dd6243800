//! The recorder of the process: what each call counts is counted here, all else by the exporter.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write};
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
    histograms: Mutex<BTreeMap<String, Family>>,
}

/// The histograms of one name.
#[derive(Debug, Default)]
struct Family {
    help: SharedString,
    by_labels: BTreeMap<String, Arc<Times>>,
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
        let mut page = without_retired(self.exporter.render());
        for (name, family) in lock(&self.counted.histograms).iter() {
            // Writing to a string does not fail.
            let _ = family.write(name, &mut page);
        }
        process::write(&mut page);
        page
    }
}

/// `page` without series that are no number: whatever they were of is gone, and they cannot be taken back.
fn without_retired(page: String) -> String {
    const RETIRED: &str = " NaN";
    if !page.contains(RETIRED) {
        return page;
    }
    page.split_inclusive('\n').filter(|line| line.starts_with('#') || !line.trim_end().ends_with(RETIRED)).collect()
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

impl Family {
    fn write(&self, name: &str, out: &mut String) -> fmt::Result {
        if self.by_labels.is_empty() {
            return Ok(());
        }
        writeln!(out, "# HELP {name} {}", self.help.replace('\\', "\\\\").replace('\n', "\\n"))?;
        writeln!(out, "# TYPE {name} histogram")?;
        self.by_labels.iter().try_for_each(|(labels, times)| times.write(name, labels, out))?;
        out.write_char('\n')
    }
}

impl Recorder for Counting {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.exporter.describe_counter(name, unit, meaning);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.exporter.describe_gauge(name, unit, meaning);
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

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.exporter.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut histograms = lock(&self.counted.histograms);
        let family = histograms.entry(key.name().to_owned()).or_default();
        let times = family.by_labels.entry(labels(key)).or_insert_with(|| Arc::new(Times::new()));
        Histogram::from_arc(Arc::clone(times))
    }
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
        with_local_recorder(&recorder, || {
            describe_histogram!("t_seconds", Unit::Seconds, "How long.");
            for _ in 0..3 {
                counter!("c_total", "reason" => "x").increment(2);
                page.render();
            }
            gauge!("g").set(4.0);
            gauge!("g", "of" => "NaN").set(5.0);
            gauge!("g", "of" => "what is gone").set(f64::NAN);
            histogram!("t_seconds", "label" => "a\"b").record(0.1);
        });
        let page = page.render();
        for line in [
            "c_total{reason=\"x\"} 6",
            "g 4",
            "g{of=\"NaN\"} 5",
            "# HELP t_seconds How long.",
            "# TYPE t_seconds histogram",
            "t_seconds_count{label=\"a\\\"b\"} 1",
        ] {
            assert!(page.lines().any(|other| other == line), "{line} in\n{page}");
        }
        assert!(!page.contains("what is gone"), "{page}");
    }
}
