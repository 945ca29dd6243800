//! What the tests of the reference pages share.

#![expect(clippy::expect_used, reason = "what a test cannot set up fails it")]

use std::fs;
use std::path::{Path, PathBuf};

/// The repository's own file or folder `path`.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Asserts that the file `path` holds `page`, or writes it if `UPDATE` is set.
pub(crate) fn assert_page(path: &str, page: &str, filter: &str) {
    let file = repository(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, page).expect("the page is written");
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(written == page, "{path} is stale: run UPDATE=1 cargo nextest run -p mcp-guard {filter}");
}

/// The Rust files of the library and the sidecar but for those of tests: path and text, without what lies under an
/// inner `mod tests`.
pub(crate) fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![repository("mcp-guard/src"), repository("mcp-guard-sidecar/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if is_source(&path) {
                let text = fs::read_to_string(&path).expect("a source");
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
                files.push((path, code));
            }
        }
    }
    files.sort();
    files
}

fn is_source(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    path.extension().is_some_and(|extension| extension == "rs") && !name.ends_with("tests")
}
