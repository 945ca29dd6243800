//! Tables, as Markdown on a terminal and as HTML on a page.

use std::fmt::{Arguments, Write as _};
use std::io::Write as _;

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

    /// The table without its title.
    pub(crate) fn html(&self) -> String {
        let line = |tag: &str, cells: &[String]| {
            cells.iter().fold(String::new(), |mut line, cell| {
                let _ = write!(line, "<{tag}>{}</{tag}>", escaped(cell));
                line
            })
        };
        let head = line("th", &self.head);
        let rows = self.rows.iter().fold(String::new(), |rows, row| rows + "<tr>" + &line("td", row) + "</tr>\n");
        format!("<table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table>\n")
    }
}

/// `text` as HTML shows it.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Writes a line to the standard output.
pub fn say(line: Arguments<'_>) {
    // Whoever closed the output does not want to read on.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_text_and_no_markup() {
        let mut table = Table::new("t", &["", "a<b"]);
        table.row(vec!["x & y".into(), "1".into()]);
        let html = table.html();
        assert!(html.contains("<th>a&lt;b</th>") && html.contains("<td>x &amp; y</td><td>1</td>"), "{html}");
    }
}
