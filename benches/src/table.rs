//! Tables, as Markdown.

use std::fmt::Arguments;
use std::io::Write;

/// Figures under headings; the first column names the row.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, head: &[&str]) -> Self {
        Self { title: title.into(), head: head.iter().map(|word| (*word).to_owned()).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Prints title and table.
    pub(crate) fn print(&self) {
        say(format_args!("\n{}\n", self.title));
        say(format_args!("| {} |", self.head.join(" | ")));
        say(format_args!("|{}", " --- |".repeat(self.head.len())));
        for row in &self.rows {
            say(format_args!("| {} |", row.join(" | ")));
        }
    }
}

/// Writes a line to the standard output.
pub fn say(line: Arguments<'_>) {
    // Whoever closed the output does not want to read on.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
