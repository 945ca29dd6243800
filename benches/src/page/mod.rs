//! A page of tables and plots in one file that needs no other.

pub(crate) mod bars;
mod frame;
pub(crate) mod lines;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::table::{Table, escaped};

/// A page that is being written.
#[derive(Debug)]
pub(crate) struct Page {
    title: String,
    body: String,
}

const STYLE: &str =
    "body { font: 15px/1.5 sans-serif; color: #222; max-width: 1560px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5em 0 1.5em }
th, td { border-bottom: 1px solid #ddd; padding: .3em .8em; text-align: right }
th { vertical-align: bottom; border-bottom-color: #888 }
th:first-child, td:first-child { text-align: left }
.plots { display: flex; flex-wrap: wrap; gap: 1em }
svg { max-width: 100%; height: auto; border: 1px solid #eee }
.wide { overflow-x: auto }";

impl Page {
    /// A page with an introduction.
    pub(crate) fn new(title: &str, introduction: &str) -> Self {
        Self { title: title.into(), body: format!("<p>{}</p>\n", escaped(introduction)) }
    }

    pub(crate) fn heading(&mut self, text: &str) {
        self.body += &format!("<h2>{}</h2>\n", escaped(text));
    }

    /// A table under its title.
    pub(crate) fn table(&mut self, table: &Table) {
        self.body += &format!("<p>{}</p>\n<div class=\"wide\">{}</div>\n", escaped(&table.title), table.html());
    }

    /// Plots side by side, as far as there is room.
    pub(crate) fn plots(&mut self, plots: &[String]) {
        self.body += &format!("<div class=\"plots\">\n{}</div>\n", plots.concat());
    }

    /// Writes `index.html` into `directory`, which is made if it is not there.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<PathBuf> {
        fs::create_dir_all(directory)?;
        let file = directory.join("index.html");
        let title = escaped(&self.title);
        let text = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>{STYLE}</style></head>\n\
             <body><h1>{title}</h1>\n{}</body></html>\n",
            self.body
        );
        fs::write(&file, text)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_one_file_that_refers_to_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let mut page = Page::new("a < b", "why");
        page.heading("one");
        page.plots(&["<svg></svg>".into()]);
        let text = fs::read_to_string(page.write(&directory.path().join("new")).unwrap()).unwrap();
        assert!(text.contains("<h1>a &lt; b</h1>") && text.contains("<svg>"), "{text}");
        assert!(!text.contains("src=") && !text.contains("href="), "{text}");
    }
}
