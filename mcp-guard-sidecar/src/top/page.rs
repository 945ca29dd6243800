//! A page of metrics, read again.

use std::collections::BTreeMap;

/// What a page of metrics says ([text format](https://prometheus.io/docs/instrumenting/exposition_formats/) 0.0.4).
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Page(Vec<Series>);

/// One line of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Series {
    /// The value of a label; empty if there is none.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
    }
}

impl Page {
    /// Reads what can be read: lines that are no series are left out.
    pub(super) fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(series).collect())
    }

    /// All series of the metric `mcp_guard_{name}`.
    pub(super) fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Series> {
        self.0.iter().filter(move |series| series.name.strip_prefix("mcp_guard_") == Some(name))
    }

    /// The sum of its values.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.of(name).map(|series| series.value).sum()
    }

    /// The same for each value of a label.
    pub(super) fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for series in self.of(name) {
            *sums.entry(series.label(label).to_owned()).or_default() += series.value;
        }
        sums
    }
}

fn series(line: &str) -> Option<Series> {
    let (name, labels, rest) = match line.split_once('{') {
        None => {
            let (name, value) = line.split_once(' ')?;
            (name, Vec::new(), value)
        }
        Some((name, rest)) => {
            let (labels, rest) = labels(rest)?;
            (name, labels, rest)
        }
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Series { name: name.to_owned(), labels, value })
}

/// The labels up to the closing brace, and what is behind it.
fn labels(mut text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let (value, rest) = quoted(rest)?;
        labels.push((name.trim_start_matches(',').to_owned(), value));
        text = rest;
    }
}

/// A label's value up to the closing quote, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text.get(place + 1..)?)),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}
